//! Canonical bytes (protocol §2.2). The only file that knows `bincode`.
//!
//! Consensus types spell out their layout field by field through [`Writer`] and [`Reader`]; bincode only turns the
//! primitives into bytes (fixed-width, little-endian). It is never given a struct to derive, because derived enum
//! tags, variable-length integers and collection lengths would all be layouts nobody chose.
//!
//! Guarantees: [`decode`] refuses input longer than the type's maximum before it reads a byte, consumes all of it,
//! and succeeds only if encoding the result gives the same bytes again.

use bincode::{
    config::{self, Configuration, Fixint, Limit, LittleEndian},
    de::{DecoderImpl, read::Reader as _, read::SliceReader},
    enc::EncoderImpl,
};

/// No message of any kind is longer than this (a block body with its framing is far below).
const DECODER_LIMIT: usize = 4 << 20;

type Config = Configuration<LittleEndian, Fixint, Limit<DECODER_LIMIT>>;

const CONFIG: Config = config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<DECODER_LIMIT>();

/// Why bytes are not the canonical encoding of what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the type may ever have.
    #[error("{got} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// The type's maximum.
        max: usize,
    },
    /// The input ended inside a field.
    #[error("ends inside `{0}`")]
    Ends(&'static str),
    /// Bytes are left over after the last field.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    /// A field holds a value outside its set.
    #[error("`{0}` is out of range")]
    Invalid(&'static str),
    /// The bytes decode, but another spelling is the canonical one.
    #[error("not the canonical form")]
    NotCanonical,
}

/// A type with one spelled-out byte layout.
pub trait Encode {
    /// Appends the layout to `w`.
    fn encode(&self, w: &mut Writer);
}

/// The inverse of [`Encode`].
pub trait Decode: Encode + Sized {
    /// No encoding is longer than this many bytes.
    const MAX_BYTES: usize;

    /// Reads one value, leaving the reader just behind it.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// The canonical bytes of `value`.
pub fn encode<T: Encode + ?Sized>(value: &T) -> Vec<u8> {
    let mut w = Writer::new();
    value.encode(&mut w);
    w.finish()
}

/// Decodes the whole of `bytes` and checks that they are canonical.
pub fn decode<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > T::MAX_BYTES {
        return Err(DecodeError::TooLong { got: bytes.len(), max: T::MAX_BYTES });
    }
    let mut r = Reader::new(bytes);
    let value = T::decode(&mut r)?;
    r.finish()?;
    let mut again = Writer::with_capacity(bytes.len());
    value.encode(&mut again);
    if again.finish() != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// Collects the output of the bincode encoder.
struct Sink(Vec<u8>);

impl bincode::enc::write::Writer for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends fields to a byte string.
pub struct Writer(EncoderImpl<Sink, Config>);

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! write_integers {
    ($($name:ident),+) => {$(
        /// Appends a little-endian integer.
        pub fn $name(&mut self, value: $name) -> &mut Self {
            bincode::Encode::encode(&value, &mut self.0).expect("writing to memory cannot fail");
            self
        }
    )+};
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::with_capacity(128)
    }

    /// An empty writer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(EncoderImpl::new(Sink(Vec::with_capacity(bytes)), CONFIG))
    }

    write_integers!(u8, u16, u32, u64, u128);

    /// Appends bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        use bincode::enc::{Encoder as _, write::Writer as _};
        self.0.writer().write(bytes).expect("writing to memory cannot fail");
        self
    }

    /// Appends a `B8`: a one-byte length and that many bytes.
    pub fn b8(&mut self, bytes: &[u8]) -> &mut Self {
        self.u8(u8::try_from(bytes.len()).expect("a B8 field holds at most 255 bytes by its type"));
        self.raw(bytes)
    }

    /// Appends a `B16`: a two-byte length and that many bytes.
    pub fn b16(&mut self, bytes: &[u8]) -> &mut Self {
        self.u16(u16::try_from(bytes.len()).expect("a B16 field holds at most 65,535 bytes by its type"));
        self.raw(bytes)
    }

    /// Appends a value by its own layout.
    pub fn put(&mut self, value: &impl Encode) -> &mut Self {
        value.encode(self);
        self
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.0.into_writer().0
    }
}

/// Reads fields from a byte string; never reads past its end and never allocates more than the input holds.
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! read_integers {
    ($($name:ident),+) => {$(
        /// Reads a little-endian integer; `field` names it in the error.
        pub fn $name(&mut self, field: &'static str) -> Result<$name, DecodeError> {
            let bytes = self.raw(size_of::<$name>(), field)?;
            let mut decoder = DecoderImpl::new(SliceReader::new(bytes), CONFIG, ());
            bincode::Decode::decode(&mut decoder).map_err(|_| DecodeError::Ends(field))
        }
    )+};
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    read_integers!(u8, u16, u32, u64, u128);

    /// Reads `len` bytes as they are.
    pub fn raw(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let mut source = SliceReader::new(self.rest);
        let bytes = source.peek_read(len).ok_or(DecodeError::Ends(field)).map(|_| &self.rest[..len])?;
        self.rest = &self.rest[len..];
        Ok(bytes)
    }

    /// Reads a fixed-length array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        Ok(self.raw(N, field)?.try_into().expect("raw returned exactly N bytes"))
    }

    /// Reads a 32-byte hash newtype.
    pub fn hash<T: From<[u8; 32]>>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        Ok(T::from(self.array(field)?))
    }

    /// Reads a `B8` of at most `max` bytes.
    pub fn b8(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.u8(field)?);
        self.bounded(len, max, field)
    }

    /// Reads a `B16` of at most `max` bytes.
    pub fn b16(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.u16(field)?);
        self.bounded(len, max, field)
    }

    fn bounded(&mut self, len: usize, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        if len > max { Err(DecodeError::Invalid(field)) } else { self.raw(len, field) }
    }

    /// Reads a value by its own layout.
    pub fn get<T: Decode>(&mut self) -> Result<T, DecodeError> {
        T::decode(self)
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Succeeds if everything was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}
