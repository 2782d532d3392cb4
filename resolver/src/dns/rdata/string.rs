//! Character strings (RFC 1035 §3.3): a length and as many bytes.

/// What follows the string that `data` begin with.
pub(super) fn skip_string(data: &[u8]) -> Option<&[u8]> {
    let (&len, rest) = data.split_first()?;
    rest.get(usize::from(len)..)
}
