//! Argon2d's memory fill with AVX2: the only file of this package with `unsafe`.
//!
//! For: the one set of parameters that proof of work uses (one pass over one lane, version 0x13; RFC 9106 §3.2 step 6).
//! Not for the hashing before and after the fill, nor for other parameters. Guarantee: the same bytes as the `argon2`
//! crate on every input; the tests beside it and the benchmark `pow` compare the two.
//!
//! A block is a matrix of 8 × 8 cells of 16 bytes, whose rows and then columns are permuted. Each permutation is one
//! chain of multiplications, each waiting for the one before: four are computed at a time to keep the processor busy.

#![allow(unsafe_code, reason = "calls that need AVX2, and its loads and stores")]

use std::{
    arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_alignr_epi8, _mm256_loadu_si256, _mm256_mul_epu32, _mm256_permute4x64_epi64,
        _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_srli_epi64,
        _mm256_storeu_si256, _mm256_xor_si256,
    },
    hint::black_box,
};

use argon2::Block;

/// Vectors in a block of 1 KiB.
const VECTORS: usize = 32;

/// Proof that this processor has AVX2: only [`Avx2::detect`] makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// Asks the processor, and whether the operating system saves its wide registers.
    pub fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Computes all blocks but the first two, which the caller has filled. What the others held is overwritten.
    pub fn fill(self, memory: &mut [Block]) {
        // SAFETY: `fill` needs a processor with AVX2, and a value of this type exists only where it was detected.
        unsafe { fill(memory) }
    }
}

#[target_feature(enable = "avx2")]
fn fill(memory: &mut [Block]) {
    let by_16 = rotation_by_16();
    for current in 2..memory.len() {
        let (filled, rest) = memory.split_at_mut(current);
        let previous = vectors(&filled[current - 1]);
        let reference = vectors(&filled[reference_index(previous[0][0], current)]);
        compress(previous, reference, vectors_mut(&mut rest[0]), by_16);
    }
}

/// The block that block `current` refers to: one of those before its predecessor, whose first word chooses it, the
/// nearer the likelier (RFC 9106 §3.4.2, where all blocks so far are one lane of the first pass).
fn reference_index(first_word: u64, current: usize) -> usize {
    let area = current as u64 - 1;
    let chosen = first_word & u64::from(u32::MAX);
    let distance = (area * ((chosen * chosen) >> 32)) >> 32;
    (area - 1 - distance) as usize
}

/// The compression function G (RFC 9106 §3.5): the rows of X ⊕ Y are permuted, then the columns, and X ⊕ Y is added.
#[inline]
#[target_feature(enable = "avx2")]
fn compress(x: &Vectors, y: &Vectors, out: &mut Vectors, by_16: __m256i) {
    let mut cells = [_mm256_setzero_si256(); VECTORS];
    for (i, cell) in cells.iter_mut().enumerate() {
        *cell = xor(x, y, i);
    }
    // A row is four vectors in sequence.
    for first in [0, 16] {
        let mut rows = Four::gather(&cells, |row, part| first + 4 * row + part);
        rows.permute_rows(by_16);
        rows.scatter(&mut cells, |row, part| first + 4 * row + part);
    }
    // A column is half of every fourth vector. Of two columns, 0 and 1 are the vectors of the first two cells.
    for first in [0, 2] {
        let place = |half: usize, part: usize| first + half / 2 + 4 * (half % 2) + 8 * part;
        let mut columns = Four::gather(&cells, place);
        columns.permute_columns(by_16);
        columns.scatter(&mut cells, place);
    }
    for (i, cell) in cells.iter().enumerate() {
        store(&mut out[i], _mm256_xor_si256(*cell, xor(x, y, i)));
    }
}

/// Four rows or four columns in the making. BLAKE2's round calls their words v0–v15; part 0 of a row holds v0–v3, part
/// 1 v4–v7 and so on. Of two columns, vector 0 holds the lower half of a part of both, and vector 1 the upper half.
struct Four {
    parts: [[__m256i; 4]; 4],
}

impl Four {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn gather(cells: &[__m256i; VECTORS], place: impl Fn(usize, usize) -> usize) -> Self {
        let mut parts = [[_mm256_setzero_si256(); 4]; 4];
        for (part, vectors) in parts.iter_mut().enumerate() {
            for (k, vector) in vectors.iter_mut().enumerate() {
                *vector = cells[place(k, part)];
            }
        }
        Self { parts }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn scatter(&self, cells: &mut [__m256i; VECTORS], place: impl Fn(usize, usize) -> usize) {
        for (part, vectors) in self.parts.iter().enumerate() {
            for (k, vector) in vectors.iter().enumerate() {
                cells[place(k, part)] = *vector;
            }
        }
    }

    /// The permutation P (RFC 9106 §3.6) of four rows: the diagonals are brought below each other by turning the parts.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn permute_rows(&mut self, by_16: __m256i) {
        const NEXT: i32 = 0b00_11_10_01;
        const OPPOSITE: i32 = 0b01_00_11_10;
        const PREVIOUS: i32 = 0b10_01_00_11;
        self.mix(by_16);
        let [_, b, c, d] = &mut self.parts;
        for k in 0..4 {
            b[k] = _mm256_permute4x64_epi64::<NEXT>(b[k]);
            c[k] = _mm256_permute4x64_epi64::<OPPOSITE>(c[k]);
            d[k] = _mm256_permute4x64_epi64::<PREVIOUS>(d[k]);
        }
        self.mix(by_16);
        let [_, b, c, d] = &mut self.parts;
        for k in 0..4 {
            b[k] = _mm256_permute4x64_epi64::<PREVIOUS>(b[k]);
            c[k] = _mm256_permute4x64_epi64::<OPPOSITE>(c[k]);
            d[k] = _mm256_permute4x64_epi64::<NEXT>(d[k]);
        }
    }

    /// The same of four columns, where a part lies in two vectors, and each of these in two columns.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn permute_columns(&mut self, by_16: __m256i) {
        self.mix(by_16);
        let [a, b, c, d] = self.parts;
        self.parts = [a, next(b), [c[1], c[0], c[3], c[2]], previous(d)];
        self.mix(by_16);
        let [a, b, c, d] = self.parts;
        self.parts = [a, previous(b), [c[1], c[0], c[3], c[2]], next(d)];
    }

    /// The function GB (RFC 9106 §3.6) on four words at a time; step by step, so that no step waits for the one before.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mix(&mut self, by_16: __m256i) {
        let [a, b, c, d] = &mut self.parts;
        for k in 0..4 {
            a[k] = multiply_add(a[k], b[k]);
        }
        for k in 0..4 {
            d[k] = rotated_by_32(_mm256_xor_si256(d[k], a[k]));
        }
        for k in 0..4 {
            c[k] = multiply_add(c[k], d[k]);
        }
        for k in 0..4 {
            b[k] = rotated_by_24(_mm256_xor_si256(b[k], c[k]));
        }
        for k in 0..4 {
            a[k] = multiply_add(a[k], b[k]);
        }
        for k in 0..4 {
            d[k] = _mm256_shuffle_epi8(_mm256_xor_si256(d[k], a[k]), by_16);
        }
        for k in 0..4 {
            c[k] = multiply_add(c[k], d[k]);
        }
        for k in 0..4 {
            b[k] = rotated_by_63(_mm256_xor_si256(b[k], c[k]));
        }
    }
}

/// A part of columns, each word's place taken by the next word.
#[inline]
#[target_feature(enable = "avx2")]
fn next(part: [__m256i; 4]) -> [__m256i; 4] {
    let [x0, x1, y0, y1] = part;
    [straddling(x0, x1), straddling(x1, x0), straddling(y0, y1), straddling(y1, y0)]
}

/// A part of columns, each word's place taken by the word before.
#[inline]
#[target_feature(enable = "avx2")]
fn previous(part: [__m256i; 4]) -> [__m256i; 4] {
    let [x0, x1, y0, y1] = part;
    [straddling(x1, x0), straddling(x0, x1), straddling(y1, y0), straddling(y0, y1)]
}

/// Of each column: the second word of `x`, then the first of `y`.
#[inline]
#[target_feature(enable = "avx2")]
fn straddling(x: __m256i, y: __m256i) -> __m256i {
    _mm256_alignr_epi8::<8>(y, x)
}

/// x + y + 2 · low(x) · low(y), of 64-bit words with their lower halves.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_add(x: __m256i, y: __m256i) -> __m256i {
    let product = _mm256_mul_epu32(x, y);
    _mm256_add_epi64(_mm256_add_epi64(x, y), _mm256_add_epi64(product, product))
}

/// Words rotated to the right, as in the next two.
#[inline]
#[target_feature(enable = "avx2")]
fn rotated_by_32(x: __m256i) -> __m256i {
    _mm256_shuffle_epi32::<0b10_11_00_01>(x)
}

#[inline]
#[target_feature(enable = "avx2")]
#[rustfmt::skip]
fn rotated_by_24(x: __m256i) -> __m256i {
    _mm256_shuffle_epi8(x, _mm256_setr_epi8(
        3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10,
        3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10,
    ))
}

/// The shuffle that rotates words by 16. The compiler must not know it: it would make two instructions of each use,
/// which costs 8 % of the whole.
#[inline]
#[target_feature(enable = "avx2")]
#[rustfmt::skip]
fn rotation_by_16() -> __m256i {
    black_box(_mm256_setr_epi8(
        2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9,
        2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9,
    ))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotated_by_63(x: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_srli_epi64::<63>(x), _mm256_add_epi64(x, x))
}

/// The words of a block as they are loaded and stored.
type Vectors = [[u64; 4]; VECTORS];

fn vectors(block: &Block) -> &Vectors {
    block.as_ref().as_chunks().0.try_into().expect("a block has 128 words")
}

fn vectors_mut(block: &mut Block) -> &mut Vectors {
    block.as_mut().as_chunks_mut().0.try_into().expect("a block has 128 words")
}

/// Vector `i` of X ⊕ Y.
#[inline]
#[target_feature(enable = "avx2")]
fn xor(x: &Vectors, y: &Vectors, i: usize) -> __m256i {
    _mm256_xor_si256(load(&x[i]), load(&y[i]))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u64; 4]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read, and this load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(words: &mut [u64; 4], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and this store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}
