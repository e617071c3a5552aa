//! The caller's code on threads of ours, which must outlive it.

use core::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `act` gives; `None` if it panics.
///
/// What the caller's code owns may be in disorder after a panic; that is its author's to decide.
pub(crate) fn caught<R>(act: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => Some(done),
        Err(payload) => {
            // The payload is the caller's, too, and its drop may panic in turn. What comes of that is left alone.
            if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                mem::forget(another);
            }
            None
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::caught;
    use std::boxed::Box;
    use std::panic::resume_unwind;

    /// A payload whose drop panics with another of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(Self));
        }
    }

    #[test]
    fn no_panic_comes_through() {
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught(|| resume_unwind(Box::new("a panic"))), None::<()>);
        assert_eq!(caught(|| resume_unwind(Box::new(Bomb))), None::<()>);
    }
}
