//! Lines to records: owners, TTLs, directives, and the set as a whole.

use ledger::record::{
    MAX_RECORDS, MAX_RECORDS_BYTES, MAX_SUB_BYTES, MAX_TTL, MIN_TTL, RECORD_TYPES, Record, RecordError, Records,
    type_number,
};

use super::{
    lexer::{self, Line, Token},
    name,
    origin::{DEFAULT_TTL, Origin},
    problem::{Fault, Problem},
    rdata,
};

/// Problems reported at once; after twenty the file is probably not a zone file.
pub const MAX_PROBLEMS: usize = 20;
/// Longest text read: 32 records of 512 bytes in `\DDD` escapes fit ten times.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Reads a whole zone file.
pub fn read(text: &str, origin: &Origin) -> Result<Records, Vec<Problem>> {
    if text.len() > MAX_TEXT_BYTES {
        let what = format!("the text has {} bytes; at most {MAX_TEXT_BYTES} are read", text.len());
        return Err(vec![Problem { line: 0, column: 0, what, fix: "give the records of one name only".into() }]);
    }
    let lines = lexer::lines(text).map_err(|problem| vec![problem])?;
    let mut reader = Reader { origin, base: origin.wire().to_vec(), ttl: DEFAULT_TTL, owner: None };
    let mut records: Vec<(u32, Record)> = Vec::new();
    let mut problems = Vec::new();
    for line in &lines {
        match reader.line(line) {
            Ok(Some(record)) => records.push((line.tokens[0].line, record)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
        if problems.len() == MAX_PROBLEMS {
            break;
        }
    }
    if problems.is_empty() { set_of(records) } else { Err(problems) }
}

/// Reads one record from its parts, as given on a command line: the owner, type and data.
pub fn read_record(sub: &str, rtype: &str, ttl: u32, data: &str, origin: &Origin) -> Result<Record, Problem> {
    let text = format!("{sub} {ttl} {rtype} {data}");
    let lines = lexer::argument(&text)?;
    let mut reader = Reader { origin, base: origin.wire().to_vec(), ttl, owner: None };
    match &lines[..] {
        [line] => reader.line(line)?.ok_or_else(|| whole("that is not a record", "give type and data: A 192.0.2.1")),
        _ => Err(whole("that is not one record", "give type and data: A 192.0.2.1")),
    }
}

/// Reads a relative owner (`www`, `@`) into wire labels.
pub fn read_sub(text: &str, origin: &Origin) -> Result<Vec<u8>, Problem> {
    sub_of(text, origin).map_err(|fault| whole(&fault.what, &fault.fix))
}

fn whole(what: &str, fix: &str) -> Problem {
    Problem { line: 0, column: 0, what: what.into(), fix: fix.into() }
}

fn at(token: &Token, fault: Fault) -> Problem {
    Problem { line: token.line, column: token.column, what: fault.what, fix: fault.fix }
}

struct Reader<'a> {
    origin: &'a Origin,
    /// What relative names are relative to: the origin, unless `$ORIGIN` moved it.
    base: Vec<u8>,
    ttl: u32,
    owner: Option<Vec<u8>>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line) -> Result<Option<Record>, Problem> {
        let first = &line.tokens[0];
        if !line.indented && !first.quoted && first.text.starts_with('$') {
            return self.directive(line).map(|()| None);
        }
        let (owner, rest) = if line.indented {
            let missing = || at(first, Fault::new("the first record has no owner", "begin the line with @ or a name"));
            (self.owner.clone().ok_or_else(missing)?, &line.tokens[..])
        } else {
            (self.owner_of(first)?, &line.tokens[1..])
        };
        self.owner = Some(owner.clone());
        self.record(owner, first, rest).map(Some)
    }

    fn directive(&mut self, line: &Line) -> Result<(), Problem> {
        let first = &line.tokens[0];
        let argument = line.tokens.get(1).filter(|_| line.tokens.len() == 2);
        match (first.text.to_ascii_uppercase().as_str(), argument) {
            ("$TTL", Some(token)) => self.ttl = ttl(&token.text).map_err(|fault| at(token, fault))?,
            ("$ORIGIN", Some(token)) => {
                let wire = name::to_wire(&token.text, &self.base).map_err(|fault| at(token, fault))?;
                if name::below(&wire, self.origin.wire()).is_none() {
                    return Err(at(token, self.outside(&wire)));
                }
                self.base = wire;
            }
            ("$TTL" | "$ORIGIN", None) => {
                return Err(at(first, Fault::new(format!("{} needs one value", first.text), "")));
            }
            _ => {
                return Err(at(
                    first,
                    Fault::new(format!("{} is not supported here", first.text), "write its records out"),
                ));
            }
        }
        Ok(())
    }

    fn outside(&self, wire: &[u8]) -> Fault {
        let (name, origin) = (name::absolute(wire), self.origin);
        Fault::new(format!("{name} is not below {origin}"), "an entry holds records of its own name only")
    }

    fn owner_of(&self, token: &Token) -> Result<Vec<u8>, Problem> {
        self.no_forgotten_dot(token)?;
        let wire = name::to_wire(&token.text, &self.base).map_err(|fault| at(token, fault))?;
        let sub = name::below(&wire, self.origin.wire()).ok_or_else(|| at(token, self.outside(&wire)))?;
        check_sub(sub).map_err(|fault| at(token, fault))?;
        Ok(sub.to_vec())
    }

    /// `www.alice.p2p` without its last dot would become `www.alice.p2p.alice.p2p.`: nobody means that.
    fn no_forgotten_dot(&self, token: &Token) -> Result<(), Problem> {
        if token.quoted || !self.origin.is_repeated_in(&token.text) {
            return Ok(());
        }
        let text = &token.text;
        Err(at(
            token,
            Fault::new(
                format!("{text} has no dot at its end, so it would mean {text}.{}", self.origin),
                format!("write {text}."),
            ),
        ))
    }

    fn record(&self, sub: Vec<u8>, first: &Token, tokens: &[Token]) -> Result<Record, Problem> {
        let mut rest = tokens;
        let mut own_ttl = None;
        while let Some((token, tail)) = rest.split_first() {
            match token.text.to_ascii_uppercase().as_str() {
                "IN" => {}
                "CH" | "HS" | "CS" => {
                    return Err(at(token, Fault::new("only the class IN exists here", "write IN or nothing")));
                }
                text if own_ttl.is_none() && !token.quoted && text.starts_with(|c: char| c.is_ascii_digit()) => {
                    own_ttl = Some(ttl(text).map_err(|fault| at(token, fault))?);
                }
                _ => break,
            }
            rest = tail;
        }
        let Some((type_token, data)) = rest.split_first() else {
            let last = tokens.last().unwrap_or(first);
            return Err(at(last, Fault::new("the record has no type", "write owner, type and data: www A 192.0.2.1")));
        };
        let rtype = record_type(type_token)?;
        for token in data {
            self.no_forgotten_dot(token)?;
        }
        let rdata = rdata::read(rtype, data, &self.base)
            .map_err(|(position, fault)| at(data.get(position).unwrap_or(type_token), fault))?;
        Ok(Record { sub, rtype, ttl: own_ttl.unwrap_or(self.ttl), rdata })
    }
}

fn sub_of(text: &str, origin: &Origin) -> Result<Vec<u8>, Fault> {
    let wire = name::to_wire(text, origin.wire())?;
    let sub = name::below(&wire, origin.wire())
        .ok_or_else(|| Fault::new(format!("{text} is not below {origin}"), "write it relative to the name: www"))?;
    check_sub(sub)?;
    Ok(sub.to_vec())
}

fn check_sub(sub: &[u8]) -> Result<(), Fault> {
    if sub.len() > MAX_SUB_BYTES {
        let what = format!("an owner has at most {MAX_SUB_BYTES} bytes below the name, this has {}", sub.len());
        return Err(Fault::new(what, "shorten it"));
    }
    let mut rest = sub;
    while let Some((&len, tail)) = rest.split_first() {
        let (label, next) = tail.split_at(usize::from(len));
        if label == b"*" && rest.len() != sub.len() {
            return Err(Fault::new("* may only be the first label", "write *.sub"));
        }
        rest = next;
    }
    Ok(())
}

fn record_type(token: &Token) -> Result<u16, Problem> {
    let text = token.text.to_ascii_uppercase();
    let known = if token.quoted { None } else { type_number(&text) };
    known.ok_or_else(|| {
        let fix = match text.as_str() {
            "SOA" => "remove the line: the resolver makes the SOA record itself".to_owned(),
            "DNSKEY" | "RRSIG" | "NSEC" | "NSEC3" | "NSEC3PARAM" | "CDS" | "CDNSKEY" => {
                "remove the line: the resolver signs what the ledger proves".to_owned()
            }
            "PTR" => "remove the line: addresses are mapped back in the zone of the address".to_owned(),
            _ => nearest_type(&text),
        };
        at(token, Fault::new(format!("type {:?} is not kept in the ledger", token.text), fix))
    })
}

fn nearest_type(text: &str) -> String {
    let near = RECORD_TYPES.iter().map(|(name, _)| (strsim::damerau_levenshtein(name, text), *name)).min();
    let all = RECORD_TYPES.map(|(name, _)| name).join(" ");
    match near {
        Some((distance, name)) if distance <= 1 || (distance == 2 && text.len() > 4) => format!("did you mean {name}?"),
        _ => format!("use one of {all}, or TYPE65280 to TYPE65534"),
    }
}

/// Seconds, or a sum such as `1h30m` (w d h m s).
fn ttl(text: &str) -> Result<u32, Fault> {
    let bad = || Fault::new(format!("{text:?} is not a time to live"), "write seconds, or 5m, 1h, 1d");
    let (mut total, mut number, mut in_number) = (0u64, 0u64, false);
    for c in text.chars() {
        let unit = match c.to_ascii_lowercase() {
            '0'..='9' => {
                let digit = u64::from(c.to_digit(10).ok_or_else(bad)?);
                number = number
                    .checked_mul(10)
                    .and_then(|n| n.checked_add(digit))
                    .filter(|n| *n < 1 << 40)
                    .ok_or_else(bad)?;
                in_number = true;
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(bad()),
        };
        if !in_number {
            return Err(bad());
        }
        (total, number, in_number) = (total + number * unit, 0, false);
    }
    let seconds = total + number;
    match u32::try_from(seconds) {
        Ok(value @ MIN_TTL..=MAX_TTL) => Ok(value),
        _ => Err(Fault::new(
            format!("a time to live of {seconds} s is out of range"),
            format!("use {MIN_TTL} to {MAX_TTL} seconds (a week)"),
        )),
    }
}

/// The canonical set; whole-set limits are blamed on the line that crosses them.
fn set_of(records: Vec<(u32, Record)>) -> Result<Records, Vec<Problem>> {
    let blame = |line, what: String, fix: &str| Err(vec![Problem { line, column: 0, what, fix: fix.into() }]);
    for (index, (line, record)) in records.iter().enumerate() {
        let same =
            |other: &Record| (&other.sub, other.rtype, &other.rdata) == (&record.sub, record.rtype, &record.rdata);
        if let Some((first, _)) = records[..index].iter().find(|(_, other)| same(other)) {
            return blame(*line, format!("the same record as in line {first}"), "remove one of them");
        }
    }
    if records.len() > MAX_RECORDS {
        let what = format!("an entry holds at most {MAX_RECORDS} records, this makes {}", records.len());
        return blame(records[MAX_RECORDS].0, what, "delegate to your own servers with NS records");
    }
    let mut bytes = 1;
    let crossing = records.iter().find(|(_, record)| {
        bytes += 9 + record.sub.len() + record.rdata.len();
        bytes > MAX_RECORDS_BYTES
    });
    let line = crossing.map_or(0, |(line, _)| *line);
    Records::new(records.into_iter().map(|(_, record)| record).collect()).or_else(|error| match error {
        RecordError::TooLong(total) => {
            let what = format!("an entry holds at most {MAX_RECORDS_BYTES} bytes of records, this makes {total}");
            blame(line, what, "shorten the data, or delegate with NS records")
        }
        other => blame(line, other.to_string(), ""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live() {
        for (text, seconds) in
            [("60", 60), ("5m", 300), ("1h30m", 5_400), ("1W", 604_800), ("604800", 604_800), ("1h1", 3_601)]
        {
            assert_eq!(ttl(text), Ok(seconds), "{text}");
        }
        for bad in ["59", "604801", "8d", "h", "1x", "99999999999999999999", "1hh"] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }
}
