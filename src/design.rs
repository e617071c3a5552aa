//! The design: documentation only.
