//! From the file as typed to the [`Feed`] that it means.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::document::{Document, Table, Value, choice};
use super::fixed;
use super::{ArbiterConfig, ConfigError, Feed, GROUPS_MAX, GapTimeout, LINES_MAX};
use super::{LineConfig, Method, ReceiveConfig, Verify};
use twinline_core::framing::fixed::Field;
use twinline_core::framing::{AnyFraming, FIXED, Fixed, FixedConfig};

/// How long a name may be, in bytes: every report has it.
const NAME_BYTES_MAX: usize = 64;
/// Linux's limit for the name of a NIC.
const NIC_BYTES_MAX: usize = 15;
/// How many units a feed may want: as many as it may have channels (ARBITRATION 2.2).
const UNITS_MAX: usize = 256;
/// What events and reports call the line that retransmissions come by.
const RESERVED: &str = "recovery";

/// The feed in `document`.
pub(super) fn feed(document: &Document<'_>) -> Result<Feed, ConfigError> {
    let top = document.top()?;
    let typed = top.need("name", r#"one, such as name = "nasdaq-totalview""#)?;
    let name = feed_name(&typed)?;
    let (framing, fixed) = framing(&top)?;
    let units = units(&top, framing, fixed.as_ref())?;
    let framing = units.first().map_or(framing, |&unit| framing.with_key(unit));
    let lines = lines(&top.need("line", r#"a [[line]] table for every path that carries it"#)?)?;
    let arbiter = match top.get("arbiter") {
        Some(typed) => arbiter(&typed.table("the table [arbiter]")?, jump_most(fixed.as_ref()))?,
        None => arbiter_of(jump_most(fixed.as_ref())),
    };
    let receive = match top.get("receive") {
        Some(typed) if typed.is_text() => ReceiveConfig { method: method(&typed)?, ..ReceiveConfig::default() },
        Some(typed) => receive(&typed.table("a method, such as \"packet\", or the table [receive]")?)?,
        None => ReceiveConfig::default(),
    };
    Ok(Feed { name, framing, fixed, units, lines, arbiter, receive })
}

fn feed_name(typed: &Value<'_>) -> Result<String, ConfigError> {
    let name = typed.string(r#"a name, such as "nasdaq-totalview""#)?;
    typed.refuse_with(printable(name))?;
    Ok(name.to_owned())
}

/// Checks that a name can be printed in a report.
fn printable(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("a name may not be empty; give it one".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name may have {NAME_BYTES_MAX} bytes, this one has {}; shorten it", name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("{name:?} has a control character; take it out"));
    }
    Ok(())
}

/// The framing, and its description if the file describes it.
fn framing(top: &Table<'_>) -> Result<(AnyFraming, Option<FixedConfig>), ConfigError> {
    let names: Vec<&str> = AnyFraming::NAMES.iter().copied().chain([FIXED]).collect();
    let all = names.join(", ");
    let typed = top.need("framing", &format!("one of: {all}"))?;
    let name = typed.string(&format!("one of: {all}"))?;
    if !names.contains(&name) {
        return Err(typed.refuse(format!("{name:?} is not a framing; {}", choice(name, &names, "framings"))));
    }
    let fixed = described(top, name)?;
    let framing = fixed.as_ref().map(|fixed| AnyFraming::Fixed(Fixed::new(fixed)));
    match framing.or_else(|| AnyFraming::from_name(name)) {
        Some(framing) => Ok((framing, fixed)),
        None => Err(typed.refuse(format!("{name:?} is not a framing; expected one of: {all}"))),
    }
}

/// The framing that the file describes itself.
fn described(top: &Table<'_>, framing: &str) -> Result<Option<FixedConfig>, ConfigError> {
    match top.get("fixed") {
        None if framing == FIXED => {
            let missing = r#"framing = "fixed" is described under [fixed], which is missing; add that table"#;
            Err(top.need("framing", "one")?.refuse(missing))
        }
        None => Ok(None),
        Some(typed) if framing != FIXED => {
            Err(typed
                .refuse(format!(r#"{framing} is a framing of its own; take [fixed] out, or write framing = "fixed""#)))
        }
        Some(typed) => fixed::fixed(&typed.table("the table [fixed]")?).map(Some),
    }
}

/// The channels within a group that are wanted.
fn units(top: &Table<'_>, framing: AnyFraming, fixed: Option<&FixedConfig>) -> Result<Vec<u32>, ConfigError> {
    let Some(typed) = top.get("units") else { return Ok(Vec::new()) };
    let channel = fixed.map(|fixed| fixed.channel);
    let keyed = fixed.is_none() && framing.rules().keyed;
    if !keyed && !matches!(channel, Some(Some(_))) {
        let what = match channel {
            Some(_) => "add channel under [fixed] (where a frame names it), or take units out",
            None => "take units out, and list under groups what is wanted",
        };
        return Err(typed.refuse(format!("frames of {} name no channels within a group; {what}", framing.name())));
    }
    let most = channel.flatten().map_or(u64::from(u32::MAX), Field::most);
    let items = typed.list("a list of the units that are wanted, such as [1, 2]")?;
    if items.len() == 0 {
        return Err(typed
            .refuse("an empty list selects nothing; name the units, such as [1, 2], or take units out to select all"));
    }
    if items.len() > UNITS_MAX {
        return Err(
            typed.refuse(format!("a feed has at most {UNITS_MAX} channels, and {} units are listed", items.len()))
        );
    }
    let mut units = Vec::with_capacity(items.len());
    for typed in items {
        let unit = typed.integer(0..=most)? as u32;
        if units.contains(&unit) {
            return Err(typed.refuse(format!("unit {unit} is in the list already; take one out")));
        }
        units.push(unit);
    }
    Ok(units)
}

/// The farthest jump that may be believed: less than half the narrowest range, so that a wrap and a jump cannot be mistaken
/// for each other.
fn jump_most(fixed: Option<&FixedConfig>) -> u64 {
    fixed.map_or(1 << 30, |fixed| (fixed.sequence.most() / 2).min(1 << 30))
}

/// The defaults, with this limit for a jump.
fn arbiter_of(jump_most: u64) -> ArbiterConfig {
    let arbiter = ArbiterConfig::default();
    ArbiterConfig { max_jump: arbiter.max_jump.min(jump_most), ..arbiter }
}

fn lines(typed: &Value<'_>) -> Result<Vec<LineConfig>, ConfigError> {
    let tables = typed.list("tables, each under [[line]]")?;
    if tables.len() > LINES_MAX {
        return Err(typed.refuse(format!("a feed has at most {LINES_MAX} lines, this one has {}", tables.len())));
    }
    let mut lines: Vec<LineConfig> = Vec::new();
    for typed in tables {
        let table = typed.table("a table under [[line]]")?;
        let (line, groups) = line(&table)?;
        if lines.iter().any(|before| before.name == line.name) {
            let twice = format!("{:?} is the name of another line; every line needs its own name", line.name);
            return Err(table.need("name", "")?.refuse(twice));
        }
        for before in &lines {
            groups.refuse_with(fits(before, &line))?;
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(typed.refuse("a feed needs at least one line; add a [[line]] table"));
    }
    if !lines.iter().any(|line| line.wait) {
        return Err(typed.refuse(
            "every line has wait = false, so a loss would wait for no line; leave wait out for the lines that a loss is to wait for",
        ));
    }
    Ok(lines)
}

/// Whether `line` is compatible with `before`.
fn fits(before: &LineConfig, line: &LineConfig) -> Result<(), String> {
    if before.groups.len() != line.groups.len() {
        return Err(format!(
            "line {:?} has {}, line {:?} has {}; every line lists the same channels in the same order",
            before.name,
            counted(before.groups.len()),
            line.name,
            counted(line.groups.len()),
        ));
    }
    for (at, group) in line.groups.iter().enumerate() {
        let Some(place) = before.groups.iter().position(|other| other == group) else { continue };
        let (first, second) = (&before.name, &line.name);
        // a receiver that mixed up the order would take one channel for another
        if place != at {
            return Err(format!(
                "{group} is the source of channel {at} here, and of channel {place} on line {first:?}; every line lists the \
                 same channels in the same order",
            ));
        }
        if before.interface != line.interface {
            continue;
        }
        match (before.source, line.source) {
            (Some(one), Some(other)) if one != other => {}
            (None, Some(source)) | (Some(source), None) => {
                let any = if line.source.is_none() { second } else { first };
                return Err(format!(
                    "lines {first:?} and {second:?} share {group} on {}, and line {any:?} takes any sender, {source} too; \
                     give line {any:?} a source of its own",
                    line.interface,
                ));
            }
            _ => {
                return Err(format!(
                    "lines {first:?} and {second:?} are one line twice: {group} on {}; give each its own group, interface or \
                     source",
                    line.interface,
                ));
            }
        }
    }
    Ok(())
}

fn counted(groups: usize) -> String {
    if groups == 1 { "1 group".to_owned() } else { format!("{groups} groups") }
}

/// A line, and the value that lists its groups.
fn line<'a>(table: &Table<'a>) -> Result<(LineConfig, Value<'a>), ConfigError> {
    let typed = table.need("name", r#"one, such as name = "A""#)?;
    let name = typed.string(r#"a name, such as "A""#)?;
    typed.refuse_with(line_name(name))?;

    let example = r#"the groups that it is sent to, such as groups = ["239.81.1.1:26400"]"#;
    let typed_groups = table.need("groups", example)?;
    let groups = groups(&typed_groups)?;

    let example = r#"the NIC that it arrives on, by name or address, such as interface = "eth0""#;
    let typed = table.need("interface", example)?;
    let interface = typed.string(r#"a NIC's name or address, such as "eth0" or "10.0.0.1""#)?;
    typed.refuse_with(interface_name(interface))?;

    let source = match table.get("source") {
        None => None,
        Some(typed) => {
            let source = typed.string(r#"a sender's address, such as "206.200.5.48""#)?;
            Some(typed.refuse_with(sender(source))?)
        }
    };
    let wait = table.get("wait").map_or(Ok(true), |typed| typed.boolean())?;
    Ok((LineConfig { name: name.to_owned(), groups, interface: interface.to_owned(), source, wait }, typed_groups))
}

fn line_name(name: &str) -> Result<(), String> {
    printable(name)?;
    if name.contains('=') {
        return Err(format!("{name:?} has a '=', which separates a line from its capture (A=a.pcap); take it out"));
    }
    if name == RESERVED {
        return Err(format!("{RESERVED:?} is what events call retransmissions; give the line another name"));
    }
    Ok(())
}

fn groups(typed: &Value<'_>) -> Result<Vec<SocketAddrV4>, ConfigError> {
    let items = typed.list(r#"a list of groups, such as ["239.81.1.1:26400"]"#)?;
    if items.len() == 0 {
        return Err(typed.refuse(r#"a line needs at least one group, such as "239.81.1.1:26400""#));
    }
    if items.len() > GROUPS_MAX {
        return Err(typed.refuse(format!("a line has at most {GROUPS_MAX} groups, this one has {}", items.len())));
    }
    let mut groups = Vec::with_capacity(items.len());
    let mut seen = HashMap::new();
    for typed in items {
        let text = typed.string(r#"a group and its port, such as "239.81.1.1:26400""#)?;
        let group = typed.refuse_with(group(text))?;
        if let Some(line) = seen.insert(group, typed.line()) {
            return Err(
                typed.refuse(format!("{group} is among this line's groups already (line {line}); take one out"))
            );
        }
        groups.push(group);
    }
    Ok(groups)
}

fn group(text: &str) -> Result<SocketAddrV4, String> {
    let group: SocketAddrV4 = text.parse().map_err(|_| {
        format!(r#"{text:?} is not an IPv4 address and port; expected group:port, such as "239.81.1.1:26400""#)
    })?;
    if group.port() == 0 {
        return Err(format!(
            "{group} has port 0, on which nothing is received; give the port that the line is sent to"
        ));
    }
    if group.ip().is_unspecified() || group.ip().is_broadcast() {
        return Err(format!("{group} is not a group; expected a multicast address, or a unicast one of this machine"));
    }
    Ok(group)
}

fn interface_name(name: &str) -> Result<(), String> {
    let expected = r#"expected a NIC's name or IPv4 address, such as "eth0" or "10.0.0.1""#;
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
            Err(format!("{name:?} is not the address of a NIC; {expected}"))
        } else {
            Ok(())
        };
    }
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    let address_like = name.contains('.') && name.chars().all(|c| c.is_ascii_digit() || c == '.');
    if name.is_empty() || name.len() > NIC_BYTES_MAX || !name.chars().all(plain) || address_like {
        return Err(format!("{name:?} cannot be a NIC's name; {expected}"));
    }
    Ok(())
}

fn sender(text: &str) -> Result<Ipv4Addr, String> {
    let unicast = |address: &Ipv4Addr| !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast();
    text.parse().ok().filter(unicast).ok_or_else(|| {
        format!(r#"{text:?} is not a sender's address; expected the unicast IPv4 address that the line is sent from"#)
    })
}

fn arbiter(table: &Table<'_>, jump_most: u64) -> Result<ArbiterConfig, ConfigError> {
    let mut arbiter = arbiter_of(jump_most);
    if let Some(typed) = table.get("gap_timeout") {
        let expected = r#""auto" or a duration, such as "1ms""#;
        arbiter.gap_timeout = match typed.string(expected)? {
            "auto" => GapTimeout::Auto,
            _ => GapTimeout::After(typed.duration(expected)?),
        };
    }
    if let Some(typed) = table.get("settle") {
        arbiter.settle = typed.integer(0..=1 << 20)?;
    }
    if let Some(typed) = table.get("hold_messages") {
        arbiter.hold_messages = typed.integer(1..=1 << 24)?;
    }
    if let Some(typed) = table.get("hold_bytes") {
        arbiter.hold_bytes = typed.size(1..=64 << 30)?;
    }
    if let Some(typed) = table.get("max_jump") {
        arbiter.max_jump = typed.integer(1..=jump_most)?;
    }
    let expected = r#"a duration, such as "3s""#;
    if let Some(typed) = table.get("silent_after") {
        arbiter.silent_after = Some(typed.duration(expected)?);
    }
    if let Some(typed) = table.get("session_grace") {
        arbiter.session_grace = Some(typed.duration(expected)?);
    }
    if let Some(typed) = table.get("join") {
        match typed.string(r#""live""#)? {
            "live" => {}
            "start" => {
                return Err(typed.refuse(
                    r#"join = "start" comes with recovery, which this version does not have; expected "live""#,
                ));
            }
            other => return Err(typed.refuse(format!(r#"{other:?} is not a way to join; expected "live""#))),
        }
    }
    if let Some(typed) = table.get("verify") {
        arbiter.verify = verify(&typed)?;
    }
    Ok(arbiter)
}

fn verify(typed: &Value<'_>) -> Result<Verify, ConfigError> {
    let expected =
        r#""off", "all", or a share of the numbers from 0.000000001 to 1, such as 0.01 for one in a hundred"#;
    if !typed.is_text() {
        return Ok(typed.share(expected)?.map_or(Verify::All, Verify::PerBillion));
    }
    match typed.string(expected)? {
        "off" => Ok(Verify::Off),
        "all" => Ok(Verify::All),
        other if other.parse::<f64>().is_ok() => {
            Err(typed.refuse(format!("{other:?} is text; write a share without quotes: verify = 0.01")))
        }
        other => Err(typed.refuse(format!("expected {expected}, found the text {other:?}"))),
    }
}

fn receive(table: &Table<'_>) -> Result<ReceiveConfig, ConfigError> {
    let mut receive = ReceiveConfig::default();
    if let Some(typed) = table.get("method") {
        receive.method = method(&typed)?;
    }
    if let Some(typed) = table.get("buffer") {
        // the kernel takes a C int, and doubles it
        receive.buffer = typed.size(4 << 10..=1 << 29)?;
    }
    if let Some(typed) = table.get("core") {
        receive.core = Some(typed.integer(0..=1_023)? as usize);
    }
    if let Some(typed) = table.get("kernel_stamps") {
        receive.kernel_stamps = typed.boolean()?;
    }
    if let Some(typed) = table.get("lock_memory") {
        receive.lock_memory = typed.boolean()?;
    }
    Ok(receive)
}

fn method(typed: &Value<'_>) -> Result<Method, ConfigError> {
    let name = typed.string(&format!("one of: {}", Method::NAMES.join(", ")))?;
    Method::from_name(name).ok_or_else(|| {
        typed.refuse(format!("{name:?} is not a way to receive; {}", choice(name, &Method::NAMES, "methods")))
    })
}
