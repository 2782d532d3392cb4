//! Records to text.

use ledger::record::{Record, Records, type_mnemonic};

use super::{
    name::display_sub,
    origin::{DEFAULT_TTL, Origin},
    rdata,
};

/// The whole set as a zone file that [`read`](fn@super::read) turns into the same bytes.
pub fn print(records: &Records, origin: &Origin) -> String {
    let ttl = most_common_ttl(records);
    let mut out = format!("$ORIGIN {origin}\n$TTL {ttl}\n");
    let width = records.as_slice().iter().map(|record| display_sub(&record.sub).len()).max().unwrap_or(1).max(7);
    for record in records.as_slice() {
        let own_ttl = if record.ttl == ttl { String::new() } else { record.ttl.to_string() };
        let (sub, rtype) = (display_sub(&record.sub), type_mnemonic(record.rtype));
        let data = rdata::print(record.rtype, &record.rdata, Some(origin));
        out.push_str(format!("{sub:<width$} {own_ttl:<6} {rtype:<6} {data}").trim_end());
        out.push('\n');
    }
    out
}

/// One record on one line, complete: `www 300 A 192.0.2.1`.
pub fn record_line(record: &Record, origin: &Origin) -> String {
    let data = rdata::print(record.rtype, &record.rdata, Some(origin));
    format!("{} {} {} {data}", display_sub(&record.sub), record.ttl, type_mnemonic(record.rtype))
}

/// The text of record data with absolute names, for readers that know no origin.
pub fn rdata_text(rtype: u16, data: &[u8]) -> String {
    rdata::print(rtype, data, None)
}

fn most_common_ttl(records: &Records) -> u32 {
    let count = |ttl: u32| records.as_slice().iter().filter(|record| record.ttl == ttl).count();
    records.as_slice().iter().map(|record| record.ttl).max_by_key(|ttl| (count(*ttl), *ttl)).unwrap_or(DEFAULT_TTL)
}
