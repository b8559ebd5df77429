//! Where the lines of a capture are sent: as their own feed file says, or another one.

use crate::config::{Feed, LineConfig};

/// Why the lines of one feed cannot be sent where another has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The framings differ: nobody listening there could read it.
    #[error("{to} has the framing {to_framing} and {from} has {from_framing}: nobody listening there could read it")]
    Framing {
        /// The feed of the capture.
        from: String,
        /// Its framing.
        from_framing: &'static str,
        /// The feed to send to.
        to: String,
        /// Its framing.
        to_framing: &'static str,
    },
    /// The names of the lines differ.
    #[error(
        "{to} has the lines {to_lines} and {from} has {from_lines}: lines are matched by name, so give them the same"
    )]
    Lines {
        /// The feed of the capture.
        from: String,
        /// Its lines.
        from_lines: String,
        /// The feed to send to.
        to: String,
        /// Its lines.
        to_lines: String,
    },
    /// A line has more groups here than there.
    #[error(
        "{to} has {to_groups} groups per line and {from} has {from_groups}: groups are matched by position, so give as many"
    )]
    Groups {
        /// The feed of the capture.
        from: String,
        /// How many groups its lines have.
        from_groups: usize,
        /// The feed to send to.
        to: String,
        /// How many groups its lines have.
        to_groups: usize,
    },
}

/// The feed to send to: `to`, with its lines in the order of `from`.
///
/// # Errors
/// [`RouteError`]: lines are matched by name, groups by position, and both must be the same on either side.
pub fn route(from: &Feed, to: Feed) -> Result<Feed, RouteError> {
    if from.framing.name() != to.framing.name() {
        return Err(RouteError::Framing {
            from: from.name.clone(),
            from_framing: from.framing.name(),
            to: to.name,
            to_framing: to.framing.name(),
        });
    }
    let there = |line: &LineConfig| to.lines.iter().find(|other| other.name == line.name).cloned();
    let found: Option<Vec<LineConfig>> = from.lines.iter().map(there).collect();
    let Some(lines) = found.filter(|found| found.len() == to.lines.len()) else {
        return Err(RouteError::Lines {
            from: from.name.clone(),
            from_lines: names(from),
            to_lines: names(&to),
            to: to.name,
        });
    };
    // all lines of a feed have the same number of groups
    let groups = |lines: &[LineConfig]| lines.first().map_or(0, |line| line.groups.len());
    let (from_groups, to_groups) = (groups(&from.lines), groups(&lines));
    if from_groups != to_groups {
        return Err(RouteError::Groups { from: from.name.clone(), from_groups, to: to.name, to_groups });
    }
    Ok(Feed { lines, ..to })
}

fn names(feed: &Feed) -> String {
    feed.lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(name: &str, framing: &str, lines: &[(&str, &[&str])]) -> Feed {
        let line = |(name, groups): &(&str, &[&str])| {
            format!("[[line]]\nname = \"{name}\"\ngroups = {groups:?}\ninterface = \"127.0.0.1\"\n")
        };
        let lines: String = lines.iter().map(line).collect();
        let text = format!("name = \"{name}\"\nframing = \"{framing}\"\n{lines}");
        Feed::parse(&text).unwrap()
    }

    #[test]
    fn lines_are_matched_by_name_and_groups_by_place() {
        let from = feed("day", "moldudp64", &[("A", &["239.1.1.1:1"]), ("B", &["239.1.2.1:1"])]);
        let to = feed("lab", "moldudp64", &[("B", &["239.9.2.1:9"]), ("A", &["239.9.1.1:9"])]);
        let routed = route(&from, to).unwrap();
        let groups: Vec<String> = routed.lines.iter().map(|line| line.groups[0].to_string()).collect();
        assert_eq!(groups, ["239.9.1.1:9", "239.9.2.1:9"]);
    }

    #[test]
    fn what_does_not_match_is_told_with_both_sides() {
        let from = feed("day", "moldudp64", &[("A", &["239.1.1.1:1"]), ("B", &["239.1.2.1:1"])]);
        for (to, said) in [
            (
                feed("lab", "moldudp64", &[("A", &["239.9.1.1:9"]), ("C", &["239.9.2.1:9"])]),
                "lab has the lines A, C and day has A, B",
            ),
            (feed("lab", "moldudp64", &[("A", &["239.9.1.1:9"])]), "lab has the lines A and day has A, B"),
            (
                feed("lab", "moldudp64", &[("A", &["239.9.1.1:9"]), ("B", &["239.9.2.1:9"]), ("C", &["239.9.3.1:9"])]),
                "lab has the lines A, B, C and day has A, B",
            ),
            (
                feed(
                    "lab",
                    "moldudp64",
                    &[("A", &["239.9.1.1:9", "239.9.1.2:9"]), ("B", &["239.9.2.1:9", "239.9.2.2:9"])],
                ),
                "lab has 2 groups per line and day has 1",
            ),
            (
                feed("lab", "cme-mdp3", &[("A", &["239.9.1.1:9"]), ("B", &["239.9.2.1:9"])]),
                "lab has the framing cme-mdp3 and day has moldudp64",
            ),
        ] {
            let error = route(&from, to).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
