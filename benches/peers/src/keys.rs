//! What keys look like, and how many of them are kept: one behind the other, so that walking over the keys of a workload costs
//! the same few nanoseconds whatever their number, and the caches are left to the table under test.

use crate::rng::{Rng, mix};
use std::fmt::Write as _;
use std::str::FromStr;

/// Shapes of keys. Each makes of every ordinal another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many random bytes, at least [`Shape::SHORTEST`].
    Bin(usize),
    /// `user:%019d`, numbers a thousand apart on average.
    Text24,
    /// `tenant/%04d/table/%03d/row/%012d`: 50 tenants of 20 tables.
    Long,
    /// Consecutive 64-bit numbers, big endian.
    Seq8,
    /// Web addresses of some hundred hosts.
    Url,
    /// File paths, four folders deep.
    Path,
    /// Random UUIDs in their text form.
    Uuid,
    /// A mixture: keys of 1 to 40 bytes, some the beginning of others, under prefixes of several lengths.
    Mixed,
}

impl Shape {
    /// Random keys of fewer bytes would not all be different.
    const SHORTEST: usize = 8;

    const NAMED: [(&str, Self); 7] = [
        ("text24", Self::Text24),
        ("long", Self::Long),
        ("seq8", Self::Seq8),
        ("url", Self::Url),
        ("path", Self::Path),
        ("uuid", Self::Uuid),
        ("mixed", Self::Mixed),
    ];

    pub fn name(self) -> String {
        match Self::NAMED.iter().find(|(_, shape)| *shape == self) {
            Some((name, _)) => (*name).to_owned(),
            None => {
                if let Self::Bin(length) = self {
                    format!("bin{length}")
                } else {
                    String::new()
                }
            }
        }
    }

    /// The key number `ordinal`; `out` is overwritten. Distinct ordinals give distinct keys.
    fn write(self, ordinal: u64, out: &mut Vec<u8>) {
        let random = mix(ordinal.wrapping_add(0x5eed));
        // A number that grows with the ordinal and has gaps of random width.
        let sparse = |gap: u64| ordinal * gap + random % gap;
        out.clear();
        match self {
            Self::Bin(length) => {
                // The first word is another one for each ordinal.
                let mut word = random;
                while out.len() < length {
                    let left = length - out.len();
                    out.extend(word.to_be_bytes().into_iter().take(left));
                    word = mix(word);
                }
            }
            Self::Text24 => text(out, format_args!("user:{:019}", sparse(1000))),
            Self::Long => {
                let (tenant, table) = (random % 50, (random >> 32) % 20);
                text(out, format_args!("tenant/{tenant:04}/table/{table:03}/row/{:012}", sparse(400)));
            }
            Self::Seq8 => out.extend(ordinal.to_be_bytes()),
            Self::Url => {
                let (host, section) = ((random >> 40) % 120, SECTIONS[(random >> 24) as usize % SECTIONS.len()]);
                text(
                    out,
                    format_args!("https://www.shop-{host}.example/{section}/item-{}?page={}", sparse(7), random % 9),
                );
            }
            Self::Path => {
                let (app, year, month) = ((random >> 40) % 30, 2015 + (random >> 30) % 11, 1 + (random >> 20) % 12);
                text(out, format_args!("/srv/data/app{app:02}/{year}/{month:02}/part-{:08}.parquet", sparse(3)));
            }
            Self::Uuid => {
                let (high, low) = (random, mix(random));
                text(
                    out,
                    format_args!(
                        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                        high >> 32,
                        high >> 16 & 0xffff,
                        high & 0xfff,
                        low >> 50 | 0x8000,
                        low & 0xffff_ffff_ffff
                    ),
                );
            }
            Self::Mixed => match random % 4 {
                0 => {
                    // The shortest big-endian form: a few bytes, and beginnings of one another.
                    let bytes = ordinal.to_be_bytes();
                    out.push(b'#');
                    out.extend(bytes.iter().skip_while(|byte| **byte == 0));
                }
                1 => text(out, format_args!("idx/{:x}", mix(ordinal) >> 8)),
                2 => text(out, format_args!("meta/settings/{}/", ordinal)),
                _ => text(out, format_args!("meta/settings/{}/profile/{:010}", random % 500, sparse(5))),
            },
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((_, shape)) = Self::NAMED.iter().find(|(known, _)| *known == name) {
            return Ok(*shape);
        }
        match name.strip_prefix("bin").and_then(|length| length.parse().ok()) {
            Some(length @ Self::SHORTEST..=65_536) => Ok(Self::Bin(length)),
            _ => {
                let known = Self::NAMED.map(|(name, _)| name).join(", ");
                Err(format!("keys are bin<bytes> (from bin{} on), {known}", Self::SHORTEST))
            }
        }
    }
}

const SECTIONS: [&str; 6] = ["books", "garden", "garden/tools", "music", "sale", "sale/today"];

fn text(out: &mut Vec<u8>, words: std::fmt::Arguments<'_>) {
    let mut line = String::with_capacity(64);
    // Writing to a `String` cannot fail.
    let _ = line.write_fmt(words);
    out.extend(line.as_bytes());
}

/// Keys, one behind the other, each with a number that says which one it is (its `tag`).
#[derive(Clone, Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    tags: Vec<u32>,
}

impl Keys {
    pub fn push(&mut self, key: &[u8], tag: u32) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.tags.push(tag);
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all keys together.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn key(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    pub fn tag(&self, index: usize) -> u32 {
        self.tags[index]
    }

    pub fn get(&self, index: usize) -> (&[u8], u32) {
        (self.key(index), self.tag(index))
    }

    /// The same keys in ascending order.
    ///
    /// # Panics
    ///
    /// If two of them are equal: a shape would have broken its promise, and every figure with it.
    pub fn sorted(&self) -> Self {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.key(*a as usize).cmp(self.key(*b as usize)));
        assert!(
            order.windows(2).all(|pair| self.key(pair[0] as usize) != self.key(pair[1] as usize)),
            "two ordinals gave the same key"
        );
        self.pick(order.into_iter().map(|index| index as usize))
    }

    /// The keys at `indices`, in that order.
    pub fn pick(&self, indices: impl Iterator<Item = usize>) -> Self {
        let mut picked = Self::default();
        for index in indices {
            let (key, tag) = self.get(index);
            picked.push(key, tag);
        }
        picked
    }
}

/// `count` keys of a shape in random order, tagged with their position.
pub fn generate(shape: Shape, count: usize, rng: &mut Rng) -> Keys {
    let mut ordinals: Vec<u64> = (1..=count as u64).collect();
    rng.shuffle(&mut ordinals);
    let mut keys = Keys::default();
    let mut key = Vec::new();
    for (tag, ordinal) in ordinals.into_iter().enumerate() {
        shape.write(ordinal, &mut key);
        keys.push(&key, tag as u32);
    }
    keys
}
