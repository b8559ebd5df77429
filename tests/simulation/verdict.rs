//! What a check says: all is well, or a complaint.

use std::fmt;

/// What is wrong with an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// In a word.
    pub about: &'static str,
    pub what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.what)
    }
}

pub type Verdict = Result<(), Complaint>;

/// Fails with a complaint about `$about` unless `$holds`.
macro_rules! hold {
    ($holds:expr, $about:literal, $($what:tt)+) => {
        if !$holds {
            return Err($crate::verdict::Complaint { about: $about, what: format!($($what)+) });
        }
    };
}
pub(crate) use hold;
