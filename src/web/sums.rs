//! Whether a kept copy is still what was downloaded: a sum for each block of the file, taken as it
//! comes, and checked when the block is first read. No JS types, so that every branch is tested
//! natively.
//!
//! The sums are XXH64: they find damage, not forgery, for whoever can write the copy can write its
//! sums too. What was downloaded is judged by its SHA-256.

use std::cell::RefCell;

use crate::error::{Error, Result};
use crate::weights::ByteSource;

/// Bytes of a block: what one damaged byte costs, and what a read of one byte takes.
pub const BLOCK_BYTES: usize = 1 << 20;

/// The first bytes of the file of sums; a file of another version is not used.
const MAGIC: &[u8; 8] = b"xxh64-1M";

/// The sums of a file's blocks; the last block may be shorter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums(Vec<u64>);

impl Sums {
    /// From the file that [`Self::encode`] gives; `None` when it is damaged itself.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, own) = bytes.split_last_chunk::<8>()?;
        let (head, sums) = body.split_first_chunk::<8>()?;
        if head != MAGIC || xxh64(body) != u64::from_le_bytes(*own) {
            return None;
        }
        let (sums, rest) = sums.as_chunks::<8>();
        let sums = sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        rest.is_empty().then_some(Self(sums))
    }

    /// As a file: a magic word, the sums in order, and the sum of all that.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.0.iter().flat_map(|sum| sum.to_le_bytes()));
        let own = xxh64(&bytes);
        bytes.extend(own.to_le_bytes());
        bytes
    }

    /// Whether there is one for every block of a file of this length.
    #[must_use]
    pub fn cover(&self, file_bytes: u64) -> bool {
        self.0.len() as u64 == file_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// How many bytes of a file, from its start, have whole blocks with sums here.
    #[must_use]
    pub fn whole_bytes(&self, file_bytes: u64) -> u64 {
        (file_bytes / BLOCK_BYTES as u64).min(self.0.len() as u64) * BLOCK_BYTES as u64
    }

    /// Whether a block matches its sum.
    #[must_use]
    pub fn holds(&self, block: usize, bytes: &[u8]) -> bool {
        self.0.get(block) == Some(&xxh64(bytes))
    }
}

/// Takes the sums of a file whose bytes come in pieces of any length.
#[derive(Debug, Default)]
pub struct Summing {
    sums: Vec<u64>,
    /// The beginning of the next block.
    open: Vec<u8>,
}

impl Summing {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.open.len();
            // A whole block need not be copied.
            if self.open.is_empty() && bytes.len() >= BLOCK_BYTES {
                let (block, rest) = bytes.split_at(BLOCK_BYTES);
                self.sums.push(xxh64(block));
                bytes = rest;
                continue;
            }
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.open.extend_from_slice(taken);
            bytes = rest;
            if self.open.len() == BLOCK_BYTES {
                self.sums.push(xxh64(&self.open));
                self.open.clear();
            }
        }
    }

    /// The sums of all whole blocks so far.
    #[must_use]
    pub fn so_far(&self) -> Sums {
        Sums(self.sums.clone())
    }

    /// The sums of the whole file.
    #[must_use]
    pub fn finish(mut self) -> Sums {
        if !self.open.is_empty() {
            self.sums.push(xxh64(&self.open));
        }
        Sums(self.sums)
    }
}

/// A file whose blocks are checked against their sums when they are first read.
#[derive(Debug, Clone)]
pub struct Checked<S> {
    source: S,
    sums: Option<Sums>,
    /// Which blocks have been checked.
    good: RefCell<Vec<bool>>,
}

impl<S: ByteSource> Checked<S> {
    /// The file without the checks.
    #[must_use]
    pub fn unchecked(&self) -> &S {
        &self.source
    }

    /// With the sums of a kept copy; without any for a file that is no copy.
    pub fn new(source: S, sums: Option<Sums>) -> Self {
        let blocks = sums.as_ref().map_or(0, |sums| sums.0.len());
        Self {
            source,
            sums,
            good: RefCell::new(vec![false; blocks]),
        }
    }

    fn damaged(&self, what: String) -> Error {
        Error::DamagedCopy {
            file: self.source.name().into(),
            what,
            then: "load it again".into(),
        }
    }
}

impl<S: ByteSource> ByteSource for Checked<S> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len_bytes(&self) -> u64 {
        self.source.len_bytes()
    }

    async fn read_at(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        let end = offset.saturating_add(bytes as u64);
        let Some(sums) = &self.sums else {
            return self.source.read_at(offset, bytes).await;
        };
        // Beyond the end the source itself returns the error.
        if bytes == 0 || end > self.len_bytes() {
            return self.source.read_at(offset, bytes).await;
        }
        let unread = |error: Error| self.damaged(format!("it cannot be read: {error}"));
        let (first, last) = ((offset / BLOCK) as usize, end.div_ceil(BLOCK) as usize);
        let known = |block: usize| self.good.borrow().get(block) == Some(&true);
        if (first..last).all(known) {
            return self.source.read_at(offset, bytes).await.map_err(unread);
        }
        let start = first as u64 * BLOCK;
        let stop = (last as u64 * BLOCK).min(self.len_bytes());
        let wide = usize::try_from(stop - start).unwrap_or(usize::MAX);
        let mut read = self.source.read_at(start, wide).await.map_err(unread)?;
        for (block, part) in (first..last).zip(read.chunks(BLOCK_BYTES)) {
            if !sums.holds(block, part) {
                let from = block as u64 * BLOCK;
                let what = format!("bytes {from} to {} changed", from + part.len() as u64);
                return Err(self.damaged(what));
            }
            if let Some(good) = self.good.borrow_mut().get_mut(block) {
                *good = true;
            }
        }
        read.drain(..(offset - start) as usize);
        read.truncate(bytes);
        Ok(read)
    }
}

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// XXH64 with seed 0. <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>
#[must_use]
pub fn xxh64(bytes: &[u8]) -> u64 {
    let round = |lane: u64, word: u64| {
        let lane = lane.wrapping_add(word.wrapping_mul(P2));
        lane.rotate_left(31).wrapping_mul(P1)
    };
    let (stripes, rest) = bytes.as_chunks::<32>();
    let mut sum = if stripes.is_empty() {
        P5
    } else {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]);
        let sum = turned.fold(0_u64, |sum, (lane, by)| {
            sum.wrapping_add(lane.rotate_left(by))
        });
        lanes.iter().fold(sum, |sum, &lane| {
            (sum ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4)
        })
    };
    sum = sum.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        sum ^= round(0, u64::from_le_bytes(*word));
        sum = sum.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        sum = sum.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for &byte in rest {
        sum ^= u64::from(byte).wrapping_mul(P5);
        sum = sum.rotate_left(11).wrapping_mul(P1);
    }
    sum = (sum ^ (sum >> 33)).wrapping_mul(P2);
    sum = (sum ^ (sum >> 29)).wrapping_mul(P3);
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::weights::Bytes;

    /// The value of a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a buffer has nothing to wait for"),
        }
    }

    /// A file of two and a half blocks.
    fn file() -> Vec<u8> {
        let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
        (0..BLOCK_BYTES * 5 / 2).map(byte).collect()
    }

    fn sums(bytes: &[u8], piece: usize) -> Sums {
        let mut summing = Summing::default();
        bytes.chunks(piece).for_each(|part| summing.update(part));
        summing.finish()
    }

    fn read(bytes: Vec<u8>, sums: &Sums, offset: u64, count: usize) -> Result<Vec<u8>> {
        let name = "m.gguf".to_owned();
        let source = Checked::new(Bytes { name, bytes }, Some(sums.clone()));
        now(source.read_at(offset, count))
    }

    #[test]
    fn the_sum_is_xxh64() {
        // The reference's own values.
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        let text = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh64(text), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn pieces_of_any_length_give_the_same_sums() {
        let file = file();
        let whole = sums(&file, file.len());
        assert!(whole.cover(file.len() as u64));
        for piece in [1000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1] {
            assert_eq!(sums(&file, piece), whole, "{piece}");
        }
        let mut summing = Summing::default();
        summing.update(&file);
        assert_eq!(
            summing.so_far().whole_bytes(file.len() as u64),
            2 << 20,
            "an open block has no sum yet"
        );
    }

    #[test]
    fn sums_come_back_from_their_file_and_damage_to_it_is_seen() {
        let sums = sums(&file(), 4096);
        let kept = sums.encode();
        assert_eq!(Sums::decode(&kept), Some(sums));
        for at in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 4;
            assert_eq!(Sums::decode(&damaged), None, "byte {at}");
            assert_eq!(Sums::decode(&kept[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn reads_are_checked_wherever_they_begin_and_end() {
        let file = file();
        let sums = sums(&file, 4096);
        let ends = [
            0,
            1,
            4095,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            2 * BLOCK_BYTES + 7,
        ];
        for start in ends {
            for end in ends.into_iter().chain([file.len()]) {
                if start > end {
                    continue;
                }
                let found = read(file.clone(), &sums, start as u64, end - start).unwrap();
                assert!(found == file[start..end], "{start}..{end}");
            }
        }
        let beyond = read(file.clone(), &sums, file.len() as u64, 1).unwrap_err();
        assert_eq!(beyond.code(), "truncated");
    }

    #[test]
    fn damage_anywhere_in_a_touched_block_is_reported_and_elsewhere_is_not_read() {
        let file = file();
        let sums = sums(&file, 4096);
        let mut damaged = file.clone();
        damaged[BLOCK_BYTES + 5000..BLOCK_BYTES + 9096].fill(0);
        let error = read(damaged.clone(), &sums, BLOCK_BYTES as u64, 10).unwrap_err();
        assert_eq!(error.code(), "damaged-copy");
        assert!(
            error.to_string().contains("bytes 1048576 to 2097152"),
            "{error}"
        );
        assert!(read(damaged.clone(), &sums, 0, BLOCK_BYTES + 1).is_err());
        assert!(read(damaged.clone(), &sums, 0, BLOCK_BYTES).is_ok());
        assert!(read(damaged, &sums, 2 * BLOCK_BYTES as u64, 10).is_ok());
        for at in [0, BLOCK_BYTES, file.len() - 1] {
            let mut one = file.clone();
            one[at] ^= 1;
            assert!(read(one, &sums, 0, file.len()).is_err(), "one bit at {at}");
        }
    }

    #[test]
    fn a_block_that_was_found_good_is_read_as_it_is() {
        let file = file();
        let sums = sums(&file, 4096);
        let name = "m.gguf".to_owned();
        let bytes = file.clone();
        let source = Checked::new(Bytes { name, bytes }, Some(sums));
        now(async {
            source.read_at(10, 10).await.unwrap();
            assert_eq!(*source.good.borrow(), [true, false, false]);
            let again = source.read_at(BLOCK_BYTES as u64 - 20, 20).await.unwrap();
            assert!(again == file[BLOCK_BYTES - 20..BLOCK_BYTES]);
        });
    }
}
