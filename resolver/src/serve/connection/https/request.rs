//! What an HTTP request asks, or what is wrong with it (RFC 8484 §4), and how long an answer may be cached (§5.1).

use data_encoding::BASE64URL_NOPAD;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use http::{Method, StatusCode, header, request::Parts};

/// The media type of DNS messages.
pub(crate) const MEDIA_TYPE: &str = "application/dns-message";
/// The longest message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 65_535;

/// Why a request gets no DNS message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is nothing here: DNS over HTTPS has another path")]
    Path,
    #[error("DNS over HTTPS takes GET and POST")]
    Method,
    #[error("the body of a POST must be application/dns-message")]
    MediaType,
    #[error("the parameter dns is missing: GET takes the query as ?dns=, in base64url without padding")]
    NoParameter,
    #[error("the parameter dns is not base64url without padding")]
    Encoding,
    #[error("this is no DNS query: it is a response, or shorter than a header")]
    NoQuery,
    #[error("a DNS message has at most 65535 bytes")]
    TooLong,
    #[error("the body did not come in time")]
    TooSlow,
    #[error("the body could not be read")]
    Unreadable,
    #[error("zone transfers need TCP, TLS or QUIC")]
    Transfer,
    #[error("too many responses wait to be taken: read them, then ask again")]
    Unread,
    #[error("too much has been said of queries that did not end: this was the longest")]
    GivenUp,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoParameter | Self::Encoding | Self::NoQuery | Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Transfer => StatusCode::NOT_IMPLEMENTED,
            Self::Unread | Self::GivenUp => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The message of a `GET`; `None` if it is in the body of a `POST`.
pub(super) fn read(parts: &Parts, path: &str) -> Result<Option<Vec<u8>>, Refusal> {
    if parts.uri.path() != path {
        return Err(Refusal::Path);
    }
    match parts.method {
        Method::GET => parameter(parts.uri.query().unwrap_or_default()).map(Some),
        Method::POST => {
            let value = parts.headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
            // Any type may have parameters (RFC 9110 §8.3.1), and none of this one means anything.
            let media_type = value.and_then(|value| value.split(|byte| *byte == b';').next()).map(<[u8]>::trim_ascii);
            match media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes())) {
                true => Ok(None),
                false => Err(Refusal::MediaType),
            }
        }
        _ => Err(Refusal::Method),
    }
}

/// The message in `dns=` of a query string.
fn parameter(query: &str) -> Result<Vec<u8>, Refusal> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("dns=")).ok_or(Refusal::NoParameter)?;
    let message = BASE64URL_NOPAD.decode(value.as_bytes()).map_err(|_| Refusal::Encoding)?;
    match message.len() {
        0..=MAX_MESSAGE_BYTES => Ok(message),
        _ => Err(Refusal::TooLong),
    }
}

/// Seconds that a response may be cached: the smallest TTL of what it says, or of its SOA if it says that there is
/// nothing (RFC 2308 §5). What failed may not be cached.
pub(super) fn max_age_s(message: &[u8]) -> u32 {
    let Ok(message) = Message::from_vec(message) else { return 0 };
    if !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return 0;
    }
    // What comes with a negative answer bounds it as well as the aliases that lead to it.
    let negative = message.authorities.iter().filter_map(negative_ttl_s);
    message.answers.iter().map(|record| record.ttl).chain(negative).min().unwrap_or(0)
}

fn negative_ttl_s(record: &Record) -> Option<u32> {
    let minimum_s = match (&record.data, record.record_type()) {
        (RData::SOA(soa), _) => soa.minimum,
        (_, RecordType::SOA) => 0,
        _ => return None,
    };
    Some(record.ttl.min(minimum_s))
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::MessageType,
        rr::{
            Name,
            rdata::{A, SOA},
        },
    };
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn check(request: http::request::Builder, expected: Result<Option<&[u8]>, (Refusal, u16)>) {
        let parts = request.body(()).expect("a request").into_parts().0;
        let got = read(&parts, "/dns-query").map_err(|refusal| (refusal, refusal.status().as_u16()));
        assert_eq!(got, expected.map(|message| message.map(<[u8]>::to_vec)), "{parts:?}");
    }

    #[test]
    fn requests() {
        let get = |uri: &str| Request::get(uri);
        check(get("https://dns/dns-query?dns=AAEC_-8"), Ok(Some(&[0, 1, 2, 0xff, 0xef])));
        check(get("/dns-query?x=1&dns=AAEC&dns=!"), Ok(Some(&[0, 1, 2])));
        check(get("/dns-query?dns="), Ok(Some(&[])));
        check(get("/dns-query"), Err((Refusal::NoParameter, 400)));
        check(get("/dns-query?xdns=AAEC"), Err((Refusal::NoParameter, 400)));
        for bad in ["AAEC/-8", "AAEC_-8=", "A", "AAEC%2D", "AAF", "A A"] {
            check(get(&format!("/dns-query?dns={}", bad.replace(' ', "+"))), Err((Refusal::Encoding, 400)));
        }
        assert_eq!(parameter(&format!("dns={}", "A".repeat(87_380))).map(|message| message.len()), Ok(65_535));
        assert_eq!(parameter(&format!("dns={}", "A".repeat(87_384))), Err(Refusal::TooLong));
        check(get("/"), Err((Refusal::Path, 404)));
        check(get("/dns-query/?dns=AAEC"), Err((Refusal::Path, 404)));
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "CONNECTED"] {
            check(Request::builder().method(method).uri("/dns-query?dns=AAEC"), Err((Refusal::Method, 405)));
        }
        let post = |media_type: &str| Request::post("/dns-query").header("content-type", media_type);
        check(post("application/dns-message"), Ok(None));
        check(post("Application/DNS-Message"), Ok(None));
        check(post("application/dns-message; charset=utf-8"), Ok(None));
        check(post("application/dns-message ;x=\"a;b\""), Ok(None));
        check(post("application/dns-json"), Err((Refusal::MediaType, 415)));
        check(post("text/plain; application/dns-message"), Err((Refusal::MediaType, 415)));
        check(post(""), Err((Refusal::MediaType, 415)));
        check(Request::post("/dns-query"), Err((Refusal::MediaType, 415)));
    }

    #[test]
    fn what_may_be_cached_and_for_how_long() {
        let name = || Name::from_ascii("a.p2p.").expect("a name");
        let a = |ttl| Record::from_rdata(name(), ttl, RData::A(A::new(192, 0, 2, 1)));
        let soa =
            |ttl, minimum| Record::from_rdata(name(), ttl, RData::SOA(SOA::new(name(), name(), 1, 2, 3, 4, minimum)));
        let check = |code, answers: &[Record], authorities: &[Record], expected| {
            let mut message = Message::query();
            message.metadata.message_type = MessageType::Response;
            message.metadata.response_code = code;
            message.answers = answers.to_vec();
            message.authorities = authorities.to_vec();
            assert_eq!(max_age_s(&message.to_vec().expect("encodes")), expected);
        };
        check(ResponseCode::NoError, &[a(300), a(60)], &[], 60);
        check(ResponseCode::NoError, &[], &[soa(300, 120)], 120);
        check(ResponseCode::NXDomain, &[], &[soa(30, 120)], 30);
        check(ResponseCode::NXDomain, &[a(10)], &[soa(30, 120)], 10);
        check(ResponseCode::NoError, &[], &[], 0);
        check(ResponseCode::ServFail, &[a(300)], &[], 0);
        check(ResponseCode::Refused, &[], &[soa(300, 300)], 0);
        assert_eq!(max_age_s(b"\0\0"), 0);
    }

    proptest! {
        #[test]
        fn any_query_string_is_read_or_refused(query in "[ -~]{0,100}") {
            if let Ok(message) = parameter(&query) {
                prop_assert!(query.contains(&BASE64URL_NOPAD.encode(&message)));
            }
        }

        #[test]
        fn any_message_survives_the_way_through_a_query_string(message in prop::collection::vec(any::<u8>(), 0..600)) {
            let query = format!("a=b&dns={}", BASE64URL_NOPAD.encode(&message));
            prop_assert_eq!(parameter(&query), Ok(message));
        }
    }
}
