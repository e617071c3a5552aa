//! An engine's own key order, with hints, and keys that are more than bytes.
//!
//! ```text
//! cargo run --example custom_order
//! ```
//!
//! A comparator is a type, so the compiler inlines it; there is no call through a pointer per comparison. `compare` is
//! enough for a correct table. The *hints* make it fast: a search looks at the hints of a dozen keys in a few cache
//! lines before it touches the first key.

// A key type of one's own is a view of stored bytes; making the view is the one unsafe step.
#![expect(unsafe_code, reason = "`Key::from_bytes` turns stored bytes into a typed key")]

use std::cmp::Ordering;
use std::error::Error;

use memskip::{BigEndian, Comparator, Key, Memtable, Reverse};

fn main() -> Result<(), Box<dyn Error>> {
    stock_orders()?;
    ignoring_case()?;
    newest_first()
}

/// Orders that come with the crate, and keys that are not `[u8]`.
fn stock_orders() -> Result<(), Box<dyn Error>> {
    let names = Memtable::<str>::builder().build();
    names.put("Ørsted", b"1777")?;
    names.put("Ångström", b"1814")?;
    assert_eq!(names.first_key(), Some("Ångström"));

    let descending = Memtable::<[u8]>::builder().comparator(Reverse(memskip::Bytewise)).build();
    descending.put(b"a", b"")?;
    descending.put(b"b", b"")?;
    assert_eq!(descending.first_key(), Some(&b"b"[..]));

    let numbers = Memtable::<[u8; 8]>::builder().comparator(BigEndian).build();
    for number in [300u64, 2, 70_000] {
        numbers.put(&number.to_be_bytes(), b"")?;
    }
    assert!(numbers.iter().map(|entry| u64::from_be_bytes(*entry.key)).eq([2, 300, 70_000]));

    println!("stock orders: str, reversed bytes, big-endian integers");
    Ok(())
}

/// ASCII text, upper and lower case the same.
#[derive(Clone, Copy, Debug, Default)]
struct IgnoringCase;

/// The order is that of the folded bytes, so everything below looks at folded bytes only.
fn folded(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
}

impl Comparator<str> for IgnoringCase {
    fn compare(&self, a: &str, b: &str) -> Ordering {
        folded(a).cmp(folded(b))
    }

    /// The next bytes after the first `skip`, most significant first, zeros where the key ends. Keys that compare equal
    /// ("Key", "KEY") must have equal hints, so fold here too.
    fn hint(&self, key: &str, skip: usize) -> usize {
        let mut bytes = folded(key).skip(skip);
        (0..size_of::<usize>()).fold(0, |hint, _| hint << 8 | usize::from(bytes.next().unwrap_or(0)))
    }

    /// How many bytes all keys from `a` to `b` have in common: `skip` is such a number. Without this method `skip` stays
    /// 0 and the hints of keys with a long common prefix are all the same: correct, and slow.
    fn common_prefix(&self, a: &str, b: &str) -> usize {
        folded(a).zip(folded(b)).take_while(|(a, b)| a == b).count()
    }
}

fn ignoring_case() -> Result<(), Box<dyn Error>> {
    let headers = Memtable::<str>::builder().comparator(IgnoringCase).build();
    for number in 0..10_000 {
        let name = format!("X-Some-Long-Prefix-{number:04}");
        assert!(headers.insert(&name, name.as_bytes()));
        // The same key, whatever its case. The spelling that came first is the one that is stored.
        assert!(!headers.insert(&name.to_lowercase(), b"again"));
    }
    headers.put("Content-Type", b"text/plain")?;
    headers.put("content-type", b"text/html")?;

    assert_eq!(headers.get_live("CONTENT-TYPE"), Some(&b"text/html"[..]));
    assert_eq!(headers.first_key(), Some("Content-Type"));
    assert_eq!(headers.get_live("x-some-long-prefix-1234"), Some(&b"X-Some-Long-Prefix-1234"[..]));
    assert_eq!(headers.range("x-SOME-long-prefix-10".."x-some-LONG-prefix-11").count(), 100);

    // `validate` walks every level and checks order, hints included: worth a test for every comparator of your own.
    headers.validate()?;
    println!("ignoring case: {} keys, found in any spelling", headers.len());
    Ok(())
}

/// A row's key: tenant, then time. It is stored as its twelve bytes; `repr(transparent)` makes the view of them free.
#[repr(transparent)]
struct RowKey([u8; 12]);

impl RowKey {
    fn new(tenant: u32, time: u64) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&tenant.to_be_bytes());
        bytes[4..].copy_from_slice(&time.to_be_bytes());
        Self(bytes)
    }

    fn tenant(&self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }

    fn time(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[4..]);
        u64::from_be_bytes(bytes)
    }
}

impl Key for RowKey {
    fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    unsafe fn from_bytes(bytes: &[u8]) -> &Self {
        // SAFETY: the caller passes bytes that `as_bytes` of a `RowKey` returned, so there are twelve of them. An array
        // of bytes has no alignment and no invalid values, and `RowKey` has its layout.
        unsafe { &*bytes.as_ptr().cast::<Self>() }
    }
}

/// Tenant by tenant; of each tenant the latest row first.
#[derive(Clone, Copy, Debug, Default)]
struct NewestFirst;

impl Comparator<RowKey> for NewestFirst {
    fn compare(&self, a: &RowKey, b: &RowKey) -> Ordering {
        a.tenant().cmp(&b.tenant()).then_with(|| b.time().cmp(&a.time()))
    }

    /// Units are what the comparator says they are. Here there are two, tenant and time: a table of one tenant skips the
    /// tenant and has the whole time in its hints. Before that the hint is the tenant and what fits of the time. (On 32
    /// bits `as usize` would cut off high bits, so shift first.)
    fn hint(&self, key: &RowKey, skip: usize) -> usize {
        let reversed_time = !key.time();
        let digest = match skip {
            0 => u64::from(key.tenant()) << 32 | reversed_time >> 32,
            1 => reversed_time,
            _ => 0,
        };
        (digest >> (u64::BITS - usize::BITS)) as usize
    }

    /// Keys between two rows of one tenant are of that tenant.
    fn common_prefix(&self, a: &RowKey, b: &RowKey) -> usize {
        match (a.tenant() == b.tenant(), a.time() == b.time()) {
            (true, true) => 2,
            (true, false) => 1,
            (false, _) => 0,
        }
    }
}

fn newest_first() -> Result<(), Box<dyn Error>> {
    let rows = Memtable::<RowKey>::builder().comparator(NewestFirst).build();
    for time in 0..1_000 {
        for tenant in [7, 8, 9] {
            rows.put(&RowKey::new(tenant, time), &time.to_be_bytes())?;
        }
    }

    // The three latest rows of tenant 8, in one short walk.
    let first = RowKey::new(8, u64::MAX);
    let latest: Vec<_> = rows.range(&first..).take(3).map(|entry| (entry.key.tenant(), entry.key.time())).collect();
    assert_eq!(latest, [(8, 999), (8, 998), (8, 997)]);
    rows.validate()?;
    println!("newest first: the latest rows of tenant 8 are {latest:?}");
    Ok(())
}
