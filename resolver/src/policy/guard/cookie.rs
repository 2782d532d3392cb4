//! DNS cookies: what proves that a client is where it says it is (RFC 7873), in the form of RFC 9018, version 1.
//!
//! The secret changes every day without anything being kept: that of a day is derived from one drawn at the start, and
//! the day before's is still honoured. It cannot be set, so that servers behind one address do not honour each other's
//! cookies, whatever their make; RFC 9018 §5 would have them share one.

use std::{hash::Hasher as _, net::IpAddr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use siphasher::sip::SipHasher24;

/// Length of what a client sends the first time, in bytes.
const CLIENT_BYTES: usize = 8;
/// Length of the cookies that we give: the client's part and ours.
pub(crate) const COOKIE_BYTES: usize = 24;
/// Lengths that a cookie with a server's part can have (RFC 7873 §4).
const WHOLE_BYTES: std::ops::RangeInclusive<usize> = 16..=40;
/// The version of RFC 9018.
const VERSION: u8 = 1;
/// Older cookies are not honoured (RFC 9018 §4.3).
const MAX_AGE_S: i32 = 3_600;
/// Cookies from further ahead are not honoured: servers' clocks differ, but not by more.
const MAX_AHEAD_S: i32 = 300;
/// Older cookies are replaced.
const RENEW_AGE_S: i32 = 1_800;
/// How long a secret is used, in seconds.
const SECRET_S: u64 = 86_400;

type Secret = [u8; 16];

/// Where daily secrets come from.
pub(crate) struct Jar([u8; 32]);

/// The secrets of a day.
#[derive(Clone, Copy, Default)]
pub(crate) struct Secrets {
    day: u64,
    current: Secret,
    previous: Secret,
}

/// What a client's cookie says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cookie {
    /// There is none, or cookies are off.
    Absent,
    /// Its length is impossible.
    Malformed,
    /// There is no server's part yet, or not one that we gave to this address lately. The answer is to carry this one.
    Fresh([u8; COOKIE_BYTES]),
    /// As `Fresh`, but there was a server's part.
    Invalid([u8; COOKIE_BYTES]),
    /// The client received an answer of ours at its address. The answer is to carry this one.
    Valid([u8; COOKIE_BYTES]),
}

impl Jar {
    /// Draws the first secret.
    pub(crate) fn open() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self(seed))
    }

    /// The secrets at `now_s`, in Unix seconds.
    pub(crate) fn secrets(&self, now_s: u64) -> Secrets {
        let day = now_s / SECRET_S;
        Secrets { day, current: self.secret(day), previous: self.secret(day.saturating_sub(1)) }
    }

    fn secret(&self, day: u64) -> Secret {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&day.to_be_bytes());
        let mut secret = Secret::default();
        secret.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        secret
    }
}

impl Secrets {
    /// Whether these are the secrets of `now_s`.
    pub(crate) fn are_of(&self, now_s: u64) -> bool {
        self.day == now_s / SECRET_S
    }

    /// Judges the COOKIE option of a client.
    pub(crate) fn judge(&self, option: &[u8], client: IpAddr, now_s: u64) -> Cookie {
        let Some((client_part, server_part)) = option.split_first_chunk::<CLIENT_BYTES>() else {
            return Cookie::Malformed;
        };
        if !server_part.is_empty() && !WHOLE_BYTES.contains(&option.len()) {
            return Cookie::Malformed;
        }
        let client = client.to_canonical();
        // Serial numbers, which may wrap (RFC 9018 §4.3).
        let now = now_s as u32;
        let fresh = || make(client_part, [VERSION, 0, 0, 0], now, client, &self.current);
        let Ok(whole) = <&[u8; COOKIE_BYTES]>::try_from(option) else {
            return if server_part.is_empty() { Cookie::Fresh(fresh()) } else { Cookie::Invalid(fresh()) };
        };
        let [.., v, r0, r1, r2, t0, t1, t2, t3, _, _, _, _, _, _, _, _] = *whole;
        let time = u32::from_be_bytes([t0, t1, t2, t3]);
        let age_s = now.wrapping_sub(time) as i32;
        let is_ours = |secret| make(client_part, [v, r0, r1, r2], time, client, secret) == *whole;
        if v != VERSION || !(-MAX_AHEAD_S..=MAX_AGE_S).contains(&age_s) {
            Cookie::Invalid(fresh())
        } else if is_ours(&self.current) {
            Cookie::Valid(if age_s > RENEW_AGE_S { fresh() } else { *whole })
        } else if is_ours(&self.previous) {
            Cookie::Valid(fresh())
        } else {
            Cookie::Invalid(fresh())
        }
    }
}

/// The cookie of RFC 9018 §4: the client's part, version, reserved bytes, time, and a keyed hash of all these and the
/// client's address.
fn make(client_part: &[u8; 8], version: [u8; 4], time: u32, client: IpAddr, secret: &Secret) -> [u8; COOKIE_BYTES] {
    let mut cookie = [0; COOKIE_BYTES];
    cookie[..8].copy_from_slice(client_part);
    cookie[8..12].copy_from_slice(&version);
    cookie[12..16].copy_from_slice(&time.to_be_bytes());
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&cookie[..16]);
    match client {
        IpAddr::V4(v4) => hasher.write(&v4.octets()),
        IpAddr::V6(v6) => hasher.write(&v6.octets()),
    }
    cookie[16..].copy_from_slice(&hasher.finish().to_le_bytes());
    cookie
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        HEXLOWER.decode(hex.as_bytes()).expect("hex").try_into().expect("that long")
    }

    fn secrets(current: &str, previous: &str, now_s: u64) -> Secrets {
        Secrets { day: now_s / SECRET_S, current: bytes(current), previous: bytes(previous) }
    }

    fn judge(secrets: &Secrets, cookie: &str, client: &str, now_s: u64) -> Cookie {
        let cookie = HEXLOWER.decode(cookie.as_bytes()).expect("hex");
        secrets.judge(&cookie, client.parse().expect("an address"), now_s)
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    /// RFC 9018 appendix A.1 to A.3.
    #[test]
    fn cookies_learnt_and_renewed() {
        let secrets = secrets(SECRET, SECRET, 1_559_731_985);
        let (client, first) = ("198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        let learnt = judge(&secrets, "2464c4abcf10c957", client, 1_559_731_985);
        assert_eq!(learnt, Cookie::Fresh(bytes(first)));
        // Up to half an hour the same comes back.
        assert_eq!(judge(&secrets, first, client, 1_559_731_985 + 1_800), Cookie::Valid(bytes(first)));
        let renewed = judge(&secrets, first, client, 1_559_734_385);
        assert_eq!(renewed, Cookie::Valid(bytes("2464c4abcf10c957010000005cf7a871d4a564a1442aca77")));
        // The reserved bytes count as they were sent, and are zero in what we send.
        let other = judge(&secrets, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 1_559_734_700);
        assert_eq!(
            other,
            Cookie::Invalid(bytes("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e")),
            "an hour and 52 minutes old"
        );
        let other =
            judge(&secrets, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203", 0x5cf7_8f71 + 1_000);
        assert!(matches!(other, Cookie::Valid(_)), "{other:?}");
    }

    /// RFC 9018 appendix A.4: the secret has changed.
    #[test]
    fn the_previous_secret_still_counts() {
        let secrets = secrets("445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715", 1_559_741_961);
        let renewed = judge(
            &secrets,
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1_559_741_961,
        );
        assert_eq!(renewed, Cookie::Valid(bytes("22681ab97d52c298010000005cf7c609a6bb79d16625507a")));
    }

    #[test]
    fn what_is_not_ours_or_out_of_time_proves_nothing() {
        let secrets = secrets(SECRET, SECRET, 1_559_731_985);
        let (client, ours) = ("198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        let is_valid = |cookie: &str, client, now_s| matches!(judge(&secrets, cookie, client, now_s), Cookie::Valid(_));
        let made = 1_559_731_985;
        assert!(is_valid(ours, client, made + 3_600) && is_valid(ours, client, made - 300));
        assert!(!is_valid(ours, client, made + 3_601) && !is_valid(ours, client, made - 301));
        assert!(is_valid(ours, "::ffff:198.51.100.100", made), "the same client on a socket for both families");
        assert!(!is_valid(ours, "198.51.100.101", made));
        // Any bit changed, and the version.
        for bit in 0..192 {
            let mut changed: [u8; 24] = bytes(ours);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_valid(&HEXLOWER.encode(&changed), client, made), "bit {bit}");
        }
        assert!(matches!(judge(&secrets, &ours[..32], client, made), Cookie::Invalid(_)));
        assert!(matches!(judge(&secrets, &format!("{ours}00"), client, made), Cookie::Invalid(_)));
    }

    /// RFC 7873 §5.2.2.
    #[test]
    fn impossible_lengths() {
        let secrets = secrets(SECRET, SECRET, 0);
        for len in 0..60 {
            let judged = secrets.judge(&vec![7; len], IpAddr::from([192, 0, 2, 1]), 0);
            assert_eq!(judged == Cookie::Malformed, !matches!(len, 8 | 16..=40), "{len}");
        }
    }

    #[test]
    fn secrets_change_by_the_day_and_overlap() {
        let jar = Jar::open().expect("random");
        let (today, tomorrow) = (jar.secrets(10 * SECRET_S), jar.secrets(11 * SECRET_S));
        assert!(today.are_of(11 * SECRET_S - 1) && !today.are_of(11 * SECRET_S));
        assert_eq!(today.current, tomorrow.previous);
        assert_ne!(today.current, tomorrow.current);
        assert_ne!(today.current, Jar::open().expect("random").secrets(10 * SECRET_S).current);
    }
}
