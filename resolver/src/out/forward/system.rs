//! The machine's name servers: `nameserver` lines of resolv.conf(5).

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::Path,
};

use tracing::debug;

use crate::policy::target::{interface_number, would_reach};

/// The port of name servers in resolv.conf.
const DNS_PORT: u16 = 53;
/// The most name servers taken: libc itself takes three.
const MAX_SERVERS: usize = 8;
/// The longest file that is read.
const MAX_FILE_BYTES: usize = 64 << 10;

/// The name servers in the file at `path`, without ourselves, who listen on `listen`: a question would run in a circle.
/// Whatever cannot be read is not there.
pub(super) fn servers(path: &Path, listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(..MAX_FILE_BYTES).unwrap_or(&text)).into_owned();
    let mut found: Vec<SocketAddr> = Vec::new();
    for server in text.lines().filter_map(name_server) {
        if !found.contains(&server) && !would_reach(server, listen) && found.len() < MAX_SERVERS {
            found.push(server);
        }
    }
    found
}

fn name_server(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace();
    let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
    // From router advertisements: a link-local address and its interface (RFC 4007 §11).
    let Some((address, interface)) = address.split_once('%') else {
        return Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, DNS_PORT));
    };
    let Ok(scope_id) = interface_number(interface) else {
        debug!(address, interface, "a name server is left out: there is no such interface");
        return None;
    };
    Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, scope_id).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, listen: &[&str], expected: &[&str]) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, text).expect("written");
        let listen: Vec<SocketAddr> = listen.iter().map(|addr| addr.parse().expect("an address")).collect();
        let got: Vec<String> = servers(&path, &listen).iter().map(SocketAddr::to_string).collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn name_servers_without_ourselves() {
        check(
            "# x\nnameserver 192.0.2.1\nsearch a\n nameserver  2001:db8::1 # y\n",
            &[],
            &["192.0.2.1:53", "[2001:db8::1]:53"],
        );
        check("nameserver 192.0.2.1\nnameserver 192.0.2.1\n", &[], &["192.0.2.1:53"]);
        check("nameserver\nnameserver x\n;nameserver 192.0.2.1\nnameserver fe80::1%no-such-one\n", &[], &[]);
        check("nameserver fe80::1%7\n", &[], &["[fe80::1%7]:53"]);
        let both = "nameserver 127.0.0.1\nnameserver 127.0.0.53\n";
        check(both, &["127.0.0.1:53"], &["127.0.0.53:53"]);
        check(both, &["127.0.0.1:5354"], &["127.0.0.1:53", "127.0.0.53:53"]);
        check(both, &["0.0.0.0:53"], &[]);
        check("nameserver 192.0.2.1\nnameserver 127.0.0.1\n", &["0.0.0.0:53"], &["192.0.2.1:53"]);
        assert_eq!(servers(Path::new("/nowhere/at/all"), &[]), []);
    }
}
