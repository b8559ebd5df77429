//! Loading a feed file, the first step of nearly every verb.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::Failure;
use twinline_core::framing::AnyFraming;
use twinline_node::config::{ConfigError, Feed, nearest};

/// The feed that the file at `path` describes, and its framing.
///
/// # Errors
/// What is wrong with the file, as a usage failure. If there is no such file, the message names those that exist.
pub(crate) fn load(path: &Path) -> Result<(Feed, AnyFraming), Failure> {
    let feed = Feed::load(path).map_err(|error| match error {
        ConfigError::Unreadable { file, error } if error.kind() == std::io::ErrorKind::NotFound => {
            Failure::usage(missing(&file))
        }
        error => Failure::usage(error),
    })?;
    let framing = feed.framing;
    Ok((feed, framing))
}

/// The message for a file that does not exist. It names the closest match in the same directory or under `feeds/`.
fn missing(path: &Path) -> anyhow::Error {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut there = feed_files(dir.unwrap_or(Path::new(".")));
    if dir.is_none() || there.is_empty() {
        there.extend(feed_files(Path::new("feeds")));
    }
    let stems: Vec<&str> = there.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    let typed = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let near =
        nearest(typed, &stems).and_then(|near| there.iter().find(|path| path.file_stem() == Some(near.as_ref())));
    let path = path.display();
    if let Some(near) = near {
        return anyhow!("{path}: there is no such feed file; did you mean {}?", near.display());
    }
    if there.is_empty() {
        return anyhow!("{path}: there is no such feed file; feeds/README.md explains how to write one");
    }
    let names: Vec<String> = there.iter().map(|path| path.display().to_string()).collect();
    anyhow!("{path}: there is no such feed file; there are: {}", names.join(", "))
}

/// The feed files in a directory, sorted by name. Other TOML files, which a current directory may well hold, are left out.
fn feed_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let toml = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).take(200);
    let mut files: Vec<PathBuf> = toml.filter(|path| Feed::load(path).is_ok()).collect();
    files.sort();
    files.iter().map(|path| path.strip_prefix("./").unwrap_or(path).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str) -> String {
        load(Path::new(path)).expect_err(path).error.to_string()
    }

    #[test]
    fn the_message_for_a_missing_file_names_those_that_exist() {
        assert_eq!(
            said("feeds/lopback.toml"),
            "feeds/lopback.toml: there is no such feed file; did you mean feeds/loopback.toml?"
        );
        assert_eq!(said("loopback"), "loopback: there is no such feed file; did you mean feeds/loopback.toml?");
        let unlike = said("feeds/xyz");
        assert!(unlike.starts_with("feeds/xyz: there is no such feed file; there are: feeds/"), "{unlike}");
        assert!(!said("xyz").contains("Cargo"), "not every TOML file is a feed file");
    }

    #[test]
    fn a_feed_comes_with_its_framing() {
        let (feed, framing) = load(Path::new("feeds/loopback.toml")).unwrap();
        assert_eq!(
            (feed.name.as_str(), framing),
            ("loopback", AnyFraming::MoldUdp64(twinline_core::framing::MoldUdp64))
        );
    }
}
