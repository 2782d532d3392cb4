//! Serves names from a text file, without a ledger or a network: what `scripts/conformance compare` puts beside other
//! name servers.
//!
//! `serve FILE [ADDRESS:PORT]` reads one record a line, `name owner type ttl data`: the ledger name, the owner below it
//! in wire form as hexadecimal (`-` for the name itself), the type as a number, the TTL in seconds, the data as
//! hexadecimal. All names are settled. It prints the address that it answers on, and ends when its standard input does.

use std::{collections::BTreeMap, env, error::Error, fs, io::Read as _, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use ledger::{
    name::Name,
    record::{Record, Records},
};
use prometheus::Registry;
use resolver::{DnsConfig, DnsMetrics, Entry, Filling, GuardConfig, Life, Readiness, Resolver, SharedTable};

const HEIGHT: u32 = 10_000;
const BLOCK_INTERVAL_S: u32 = 120;
const LIFE: Life =
    Life { active_from: 100, expires_at: 200_000, grace_until: 221_600, revoked_until: None, last_change: 100 };

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let file = args.next().ok_or("give a file of records")?;
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let table = Arc::new(table(&fs::read_to_string(file)?)?);
    // An authority to everybody: servers that names are delegated to are not asked.
    let guard = GuardConfig { forward_allow: Vec::new(), ..GuardConfig::default() };
    let config = DnsConfig { listen: vec![listen], suffixes: vec!["p2p".to_owned()], guard, ..DnsConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let resolver = Resolver::bind(&config, table, Arc::new(DnsMetrics::new(&Registry::new())?)).await?;
        println!("listening on: {}", resolver.local_addrs()[0]);
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        Ok(resolver.shutdown(Duration::from_secs(5)).await?)
    })
}

fn table(text: &str) -> Result<SharedTable, Box<dyn Error>> {
    let mut names: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let (name, record) = record(line).ok_or_else(|| format!("line {}: not a record: {line}", number + 1))?;
        names.entry(name).or_default().push(record);
    }
    let mut filling = Filling::new(BLOCK_INTERVAL_S);
    for (name, records) in names {
        let records = Records::new(records).map_err(|error| format!("{name}: {error}"))?;
        let entry = Entry::new(LIFE, &records);
        if entry.records.skipped() > 0 {
            return Err(format!("{name}: {} records cannot be served", entry.records.skipped()).into());
        }
        filling.push(&Name::new(name)?, &entry);
    }
    let table = SharedTable::new(BLOCK_INTERVAL_S);
    table.publish_all(HEIGHT, 1_800_000_000, filling);
    table.set_readiness(Readiness::Ready);
    Ok(table)
}

fn record(line: &str) -> Option<(&str, Record)> {
    let mut fields = line.split(' ');
    let mut field = || fields.next();
    let (name, owner, rtype, ttl, data) = (field()?, field()?, field()?, field()?, field()?);
    let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
    let sub = if owner == "-" { Vec::new() } else { hex(owner)? };
    Some((name, Record { sub, rtype: rtype.parse().ok()?, ttl: ttl.parse().ok()?, rdata: hex(data)? }))
}
