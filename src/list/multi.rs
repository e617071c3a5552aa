//! Many keys at once.

use crate::arena::Arena;
use crate::clock::SeqClock;
use crate::comparator::Comparator;

use super::position::{View, Visible};
use super::{Key, List};

impl<K, C, A, S, const H: usize> List<K, C, A, S, H>
where
    K: Key + ?Sized,
    C: Comparator<K>,
    A: Arena,
    S: SeqClock,
{
    /// Looks up key after key and hands over what `view` shows of each, with its number.
    pub(crate) fn get_many<'a, 'k>(
        &'a self,
        count: usize,
        key: impl Fn(usize) -> &'k K,
        view: View,
        mut found: impl FnMut(usize, Option<Visible<'a>>),
    ) where
        K: 'k,
    {
        for index in 0..count {
            found(index, self.get(key(index), view));
        }
    }
}
