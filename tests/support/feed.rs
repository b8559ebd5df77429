//! Feeds as tests need them: the text of a feed file, what it parses to, and groups that are a test's own.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process;

use twinline_core::framing::AnyFraming;
use twinline_node::config::{ArbiterConfig, Feed, LineConfig};

use super::number_of_its_own;

/// A group and port that no other test uses: the group by process and count, the port by asking for a free one.
pub fn group() -> SocketAddrV4 {
    let [_, _, c, d] = process::id().to_be_bytes();
    // past 255 the ports tell them apart
    SocketAddrV4::new(Ipv4Addr::new(239, number_of_its_own() as u8, c, d), free_port())
}

pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The text of a feed file with these lines on loopback. A table may be added at its end.
pub fn text<G: Display>(name: &str, framing: &str, lines: &[(&str, &[G])]) -> String {
    let line = |(name, groups): &(&str, &[G])| {
        let groups: Vec<String> = groups.iter().map(|group| format!("\"{group}\"")).collect();
        format!("[[line]]\nname = {name:?}\ngroups = [{}]\ninterface = \"127.0.0.1\"\n", groups.join(", "))
    };
    let lines: String = lines.iter().map(line).collect();
    format!("name = {name:?}\nframing = \"{framing}\"\n{lines}")
}

/// The same with lines A, B and on, as many as asked for, each with a group of its own: 239.81.1.1:26400 is A's.
pub fn text_of_lines(name: &str, framing: &str, count: u8) -> String {
    let lines: Vec<(String, [String; 1])> = (0..count)
        .map(|line| (char::from(b'A' + line).to_string(), [format!("239.81.{}.1:26400", line + 1)]))
        .collect();
    let lines: Vec<(&str, &[String])> = lines.iter().map(|(name, groups)| (name.as_str(), &groups[..])).collect();
    text(name, framing, &lines)
}

#[track_caller]
pub fn parse(text: &str) -> Feed {
    Feed::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Lines A and B of [`text_of_lines`]; `more` stands at the end.
pub fn two_lines(name: &str, framing: &str, more: &str) -> Feed {
    parse(&(text_of_lines(name, framing, 2) + more))
}

/// A line as a feed file would have it.
pub fn line<G: ToString>(name: &str, interface: &str, groups: &[G]) -> LineConfig {
    let groups = groups.iter().map(|group| group.to_string().parse().unwrap()).collect();
    LineConfig::new(name, groups, interface)
}

/// A MoldUDP64 feed of these lines, with every default.
pub fn of(lines: &[LineConfig]) -> Feed {
    Feed::new("test", twinline_core::framing::MoldUdp64.into(), lines.to_vec())
}
