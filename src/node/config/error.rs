//! What is wrong with a feed file.

use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a feed file, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("{}: cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file can be read, but its content is wrong.
    #[error("{}{problem}", place(file.as_deref(), *line, key))]
    Refused {
        /// The file; `None` if the text was not read from a file.
        file: Option<PathBuf>,
        /// The line in the file, from 1.
        line: usize,
        /// The key with its table, such as `arbiter.settle`; empty if the text is not TOML.
        key: String,
        /// What was found, what was expected, and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// Refuses the value at `line` under `key`.
    pub(super) fn refused(line: usize, key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
        ConfigError::Refused { file: None, line, key: key.into(), problem: problem.into() }
    }

    /// The same error, for the file at `path`.
    pub(super) fn in_file(mut self, path: &Path) -> ConfigError {
        if let ConfigError::Refused { file, .. } = &mut self {
            *file = Some(path.to_owned());
        }
        self
    }
}

/// `feeds/x.toml:3: arbiter.settle: `, or `line 3: arbiter.settle: ` without a file.
fn place(file: Option<&Path>, line: usize, key: &str) -> String {
    let file = file.map_or(format!("line {line}: "), |file| format!("{}:{line}: ", file.display()));
    if key.is_empty() { file } else { format!("{file}{key}: ") }
}
