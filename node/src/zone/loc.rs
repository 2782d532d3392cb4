//! LOC data (RFC 1876): where something is on Earth.
//!
//! Text: `52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m`; minutes, seconds, and the last three may be left out.

use super::{lexer::Token, problem::Fault};

/// Sea level, in centimetres above the lowest altitude that can be written.
const SEA_LEVEL_CM: i64 = 10_000_000;
/// The equator and the prime meridian.
const MIDDLE: i64 = 1 << 31;

/// Reads all tokens.
pub(super) fn read(tokens: &[Token]) -> Result<Vec<u8>, Fault> {
    let mut words = tokens.iter().map(|token| token.text.as_str()).peekable();
    let latitude = angle(&mut words, ['N', 'S'], 90)?;
    let longitude = angle(&mut words, ['E', 'W'], 180)?;
    let altitude = metres(words.next().ok_or_else(|| fault("the altitude is missing"))?)? + SEA_LEVEL_CM;
    let altitude = u32::try_from(altitude).map_err(|_| fault("the altitude is out of range"))?;
    let mut precision = [0u8; 3];
    for (slot, default) in precision.iter_mut().zip(["1m", "10000m", "10m"]) {
        *slot = to_exponent(metres(words.next().unwrap_or(default))?)?;
    }
    if words.next().is_some() {
        return Err(fault("too many fields"));
    }
    let mut out = vec![0];
    out.extend_from_slice(&precision);
    for value in [latitude, longitude, altitude] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    Ok(out)
}

/// The text of LOC data; `None` if it is not version 0 or out of range.
pub(super) fn print(data: &[u8]) -> Option<String> {
    let data: &[u8; 16] = data.try_into().ok()?;
    if data[0] != 0 || data[1..4].iter().any(|byte| byte >> 4 > 9 || byte & 15 > 9 || (byte >> 4 == 0 && byte & 15 > 0))
    {
        return None;
    }
    let word = |at: usize| i64::from(u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]));
    let latitude = angle_text(word(4) - MIDDLE, ['N', 'S'], 90)?;
    let longitude = angle_text(word(8) - MIDDLE, ['E', 'W'], 180)?;
    let altitude = centimetres_text(word(12) - SEA_LEVEL_CM);
    let precision = data[1..4].iter().map(|byte| centimetres_text(from_exponent(*byte))).collect::<Vec<_>>().join(" ");
    Some(format!("{latitude} {longitude} {altitude} {precision}"))
}

fn fault(what: &str) -> Fault {
    Fault::new(what, "write for example 52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m")
}

/// Degrees, minutes and seconds up to a letter of `signs`, as thousandths of a second beside the middle.
fn angle<'a>(words: &mut impl Iterator<Item = &'a str>, signs: [char; 2], most: i64) -> Result<u32, Fault> {
    let limits = [(most, 3_600_000), (59, 60_000)];
    let mut total = 0i64;
    for position in 0.. {
        let word = words.next().ok_or_else(|| fault("N, S, E or W is missing"))?;
        if let Some(sign) = signs.iter().position(|sign| word.eq_ignore_ascii_case(&sign.to_string())) {
            let in_range = position > 0 && total <= most * 3_600_000;
            let signed = if sign == 0 { MIDDLE + total } else { MIDDLE - total };
            return u32::try_from(signed).ok().filter(|_| in_range).ok_or_else(|| fault("the angle is out of range"));
        }
        total += match limits.get(position) {
            Some((limit, unit)) => {
                whole(word).filter(|n| n <= limit).ok_or_else(|| fault("the angle is out of range"))? * unit
            }
            None if position == 2 => {
                decimal(word, 3).filter(|n| *n < 60_000).ok_or_else(|| fault("the seconds are out of range"))?
            }
            None => return Err(fault("N, S, E or W is missing")),
        };
    }
    Err(fault("N, S, E or W is missing"))
}

fn angle_text(value: i64, signs: [char; 2], most: i64) -> Option<String> {
    let (sign, value) = if value < 0 { (signs[1], -value) } else { (signs[0], value) };
    let (degrees, minutes, thousandths) = (value / 3_600_000, value / 60_000 % 60, value % 60_000);
    let text = format!("{degrees} {minutes} {}.{:03} {sign}", thousandths / 1000, thousandths % 1000);
    (value <= most * 3_600_000).then_some(text)
}

fn whole(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A decimal number of at most `places` decimals, in units of the last.
fn decimal(text: &str, places: usize) -> Option<i64> {
    let (head, tail) = text.split_once('.').unwrap_or((text, ""));
    if tail.len() > places {
        return None;
    }
    let digits = format!("{head}{tail:0<places$}");
    if digits.len() > 15 { None } else { whole(&digits) }
}

fn metres(text: &str) -> Result<i64, Fault> {
    let number = text.strip_suffix(['m', 'M']).unwrap_or(text);
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let centimetres = decimal(number, 2).filter(|_| !number.is_empty());
    centimetres.map(|cm| sign * cm).ok_or_else(|| fault("not a length in metres with at most two decimals"))
}

fn centimetres_text(cm: i64) -> String {
    let sign = if cm < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}m", cm.abs() / 100, cm.abs() % 100)
}

/// `mantissa << 4 | exponent` of ten; only lengths with one digit other than zero can be written.
fn to_exponent(cm: i64) -> Result<u8, Fault> {
    let mut mantissa = cm;
    for exponent in 0..10u8 {
        if (0..10).contains(&mantissa) {
            return Ok(if mantissa == 0 { 0 } else { (mantissa as u8) << 4 | exponent });
        }
        if mantissa % 10 != 0 {
            break;
        }
        mantissa /= 10;
    }
    Err(fault("size and precision have a single digit followed by zeros, such as 1m, 30m or 10000m"))
}

fn from_exponent(byte: u8) -> i64 {
    i64::from(byte >> 4) * 10i64.pow(u32::from(byte & 15))
}
