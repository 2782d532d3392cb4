//! Types that nothing can be asked about.

use hickory_proto::op::ResponseCode;

use crate::dns::{
    answer::{Answer, Origin},
    ede::EdeCode,
    rtype,
};

/// Types that are no question about data. Every other number is one, known or not (RFC 3597).
pub(super) fn refuse(qtype: u16) -> Option<Answer> {
    let (rcode, code, text) = match qtype {
        rtype::OPT | rtype::NXNAME | rtype::TKEY | rtype::TSIG => {
            (ResponseCode::FormErr, EdeCode::InvalidQueryType, "this type cannot be asked for")
        }
        // Those that are allowed never come here.
        rtype::AXFR | rtype::IXFR => {
            let text = "zone transfer: not over this transport, or not for you";
            (ResponseCode::Refused, EdeCode::Prohibited, text)
        }
        _ => return None,
    };
    Some(Answer::failure(rcode, Origin::Policy, code, text))
}
