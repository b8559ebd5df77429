//! From the table `[fixed]` as typed to the [`FixedConfig`] that it means, and the messages for one that describes no framing.
//!
//! Two forms of text keep the table flat. A field is its type and where it begins: `"u32 at 4"`, `"u16le at 14"`,
//! `"text10 at 0"`. A rule says which frames are meant: `"count = 0"`, `"u8 at 2 = 10, 12 and u16 at 18 = 1"`; a list of rules
//! means frames that match any of them.

use super::ConfigError;
use super::document::{Table, Value};
use twinline_core::Nanos;
use twinline_core::framing::fixed::{
    Carries, Field, FixedConfig, Heartbeat, LengthField, Looked, MessageLength, Rule, SessionField, Test,
};

mod field;
#[cfg(test)]
mod tests;

/// The bytes of the header that a field covers.
struct Taken {
    key: &'static str,
    first: usize,
    end: usize,
}

/// The table under way, and what reading a field needs.
struct Reading<'a, 't> {
    table: &'t Table<'a>,
    big_endian: bool,
    header: usize,
    taken: Vec<Taken>,
}

/// The framing that `table` describes.
pub(super) fn fixed(table: &Table<'_>) -> Result<FixedConfig, ConfigError> {
    let packet = match choose(&table.need("unit", r#"unit = "message" or unit = "packet": what has a number"#)?)? {
        "message" => false,
        "packet" => true,
        other => return refused(table, "unit", format!(r#"{other:?} has no number; expected "message" or "packet""#)),
    };
    let example = "the number of bytes in front of the first message, such as header = 20";
    let header = table.need("header", example)?.integer(1..=FixedConfig::HEADER_MAX as u64)? as usize;
    let big_endian = match choose(&table.need("endian", r#"endian = "big" or endian = "little""#)?)? {
        "big" => true,
        "little" => false,
        other => {
            return refused(table, "endian", format!(r#"{other:?} is not a byte order; expected "big" or "little""#));
        }
    };
    let mut reading = Reading { table, big_endian, header, taken: Vec::new() };
    let typed = table.need("sequence", r#"where the sequence number is, such as sequence = "u64 at 10""#)?;
    let sequence = reading.number(&typed)?;
    let (initial, skips_zero) = numbers(table, sequence)?;
    let count = reading.count(packet)?;
    let session = reading.session()?;
    let channel = reading.channel()?;
    let length = reading.length()?;
    let message = reading.message(packet)?;
    let rules = Rules { reading: &reading, packet, count };
    let must_be = rules.written("must_be")?;
    let writes = rules.written("writes")?;
    let heartbeat = rules.heartbeat()?;
    let heartbeat_interval = heartbeat_interval(table)?;
    let end = rules.end(heartbeat.as_ref())?;
    let unsequenced = rules.rule("unsequenced")?;
    let zero_is_none = skips_zero || sequence.width == 8 && initial > 0;
    let of_zero = |chain: &[Test]| matches!(chain, [test] if test.what == Looked::Sequence && test.low == 0);
    if !zero_is_none && unsequenced.alternatives().any(of_zero) {
        return refused(
            table,
            "unsequenced",
            "a sequence of 0 is a number of this stream, see wraps_to and initial; take it out here, or let the numbers begin and wrap at 1",
        );
    }
    let reset = rules.rule("reset")?;
    let reset_to_initial = match table.get("reset_to") {
        None => false,
        Some(typed) if reset.0.is_empty() => {
            return Err(typed.refuse("this needs reset, which is missing; add reset, or take this out"));
        }
        Some(typed) => match choose(&typed)? {
            "sequence" => false,
            "initial" => true,
            other => {
                return Err(typed.refuse(format!(
                    r#"{other:?} is not something to reset to; expected "sequence" (the frame's own number) or "initial""#
                )));
            }
        },
    };
    let unmarked_restart = table.get("unmarked_restart").map_or(Ok(false), |typed| typed.boolean())?;
    Ok(FixedConfig {
        packet,
        header,
        sequence,
        skips_zero,
        initial,
        count,
        session,
        channel,
        length,
        message,
        must_be,
        writes,
        heartbeat,
        heartbeat_interval,
        end,
        unsequenced,
        reset,
        reset_to_initial,
        unmarked_restart,
    })
}

fn choose<'a>(typed: &Value<'a>) -> Result<&'a str, ConfigError> {
    typed.string("a word in quotes")
}

/// Refuses a key that exists.
fn refused<T>(table: &Table<'_>, key: &'static str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(table.need(key, "it")?.refuse(problem))
}

/// The initial number, and whether a wrap skips zero.
fn numbers(table: &Table<'_>, sequence: Field) -> Result<(u64, bool), ConfigError> {
    let wraps_to = match table.get("wraps_to") {
        Some(typed) if sequence.width == 8 => {
            return Err(typed.refuse("a number of 64 bits never wraps; take wraps_to out"));
        }
        Some(typed) => typed.integer(0..=1)?,
        None => 1,
    };
    let skips_zero = sequence.width < 8 && wraps_to == 1;
    let initial = match table.get("initial") {
        None => 1,
        Some(typed) => {
            let initial = typed.integer(0..=sequence.most().min(i64::MAX as u64))?;
            if initial == 0 && skips_zero {
                return Err(
                    typed.refuse("numbers that wrap to 1 have no 0; expected 1 or more, or wraps_to = 0 beside it")
                );
            }
            initial
        }
    };
    Ok((initial, skips_zero))
}

fn heartbeat_interval(table: &Table<'_>) -> Result<Nanos, ConfigError> {
    match table.get("heartbeat_interval") {
        None => Ok(Nanos::from_secs(1)),
        Some(typed) => typed.duration(r#"how often an idle line is heard, such as "1s""#),
    }
}

impl<'a> Reading<'a, '_> {
    /// A field of the header that overlaps no other.
    fn number(&mut self, typed: &Value<'a>) -> Result<Field, ConfigError> {
        let text = typed.string(r#"a field, such as "u32 at 4""#)?;
        let field = typed.refuse_with(field::field(text, self.big_endian))?;
        self.take(typed, field.at, field.width)?;
        Ok(field)
    }

    fn take(&mut self, typed: &Value<'a>, at: u16, width: u8) -> Result<(), ConfigError> {
        let (first, end) = (usize::from(at), usize::from(at) + usize::from(width));
        if end > self.header {
            let header = self.header;
            return Err(typed.refuse(format!(
                "it ends after the header: it covers bytes {first} to {}, and header = {header} ends with byte {}",
                end - 1,
                header - 1,
            )));
        }
        if let Some(other) = self.taken.iter().find(|other| first < other.end && other.first < end) {
            return Err(typed.refuse(format!(
                "it overlaps {}: this covers bytes {first} to {}, {} has {} to {}; give each its own",
                other.key,
                end - 1,
                other.key,
                other.first,
                other.end - 1,
            )));
        }
        self.taken.push(Taken { key: typed.key(), first, end });
        Ok(())
    }

    fn count(&mut self, packet: bool) -> Result<Option<Field>, ConfigError> {
        match (self.table.get("count"), packet) {
            (None, true) => Ok(None),
            (Some(typed), true) => {
                Err(typed
                    .refuse(r#"if packets are numbered, each counts as one; take count out, or say unit = "message""#))
            }
            (None, false) => {
                let example = r#"where a frame says how many messages it has, such as count = "u16 at 18" (or unit = "packet", if only packets are numbered)"#;
                Err(self.table.missing("count", example))
            }
            (Some(typed), false) => {
                let field = self.number(&typed)?;
                if field.width == 8 {
                    return Err(typed.refuse("no datagram has so many messages; expected u8, u16 or u32"));
                }
                Ok(Some(field))
            }
        }
    }

    fn session(&mut self) -> Result<Option<SessionField>, ConfigError> {
        let Some(typed) = self.table.get("session") else { return Ok(None) };
        let text = typed.string(r#"a field, such as "text10 at 0" or "u32 at 8""#)?;
        let session = typed.refuse_with(field::session(text, self.big_endian))?;
        match session {
            SessionField::Number(field) => self.take(&typed, field.at, field.width)?,
            SessionField::Text { at, len } => self.take(&typed, at, len)?,
        }
        Ok(Some(session))
    }

    fn channel(&mut self) -> Result<Option<Field>, ConfigError> {
        let Some(typed) = self.table.get("channel") else { return Ok(None) };
        let field = self.number(&typed)?;
        if field.width == 8 {
            return Err(typed.refuse("a channel's number has 32 bits at most; expected u8, u16 or u32"));
        }
        Ok(Some(field))
    }

    fn length(&mut self) -> Result<Option<LengthField>, ConfigError> {
        let field = match self.table.get("length") {
            None => None,
            Some(typed) => Some(self.number(&typed)?),
        };
        let counts = self.table.get("length_counts");
        let (field, typed) = match (field, counts) {
            (None, None) => return Ok(None),
            (None, Some(typed)) => {
                return Err(typed.refuse("this needs length, which is missing; add length, or take this out"));
            }
            (Some(_), None) => {
                let example = r#"length_counts = "datagram" (the header too) or "body" (what comes after the header)"#;
                return Err(self.table.missing("length_counts", example));
            }
            (Some(field), Some(typed)) => (field, typed),
        };
        let counts_header = match choose(&typed)? {
            "datagram" => true,
            "body" => false,
            other => {
                return Err(typed.refuse(format!(
                    r#"{other:?} is not something that a length counts; expected "datagram" (the header too) or "body""#
                )));
            }
        };
        Ok(Some(LengthField { field, counts_header }))
    }

    fn message(&self, packet: bool) -> Result<Option<MessageLength>, ConfigError> {
        let (adds, skip) = (self.table.get("message_length_adds"), self.table.get("message_skip"));
        let Some(typed) = self.table.get("message_length") else {
            return match adds.or(skip) {
                None => Ok(None),
                Some(typed) => {
                    Err(typed
                        .refuse("this needs message_length, which is missing; add message_length, or take this out"))
                }
            };
        };
        if packet {
            return Err(typed.refuse(
                r#"if packets are numbered, everything after the header is delivered as one; take message_length out, or say unit = "message""#,
            ));
        }
        let text = typed.string(r#"where the length is in a message's block, such as "u16 at 0""#)?;
        let field = typed.refuse_with(field::field(text, self.big_endian))?;
        if field.width > 2 || field.at > 253 {
            return Err(
                typed.refuse("a message's length has 1 or 2 bytes, in the first 255 of its block; expected u8 or u16")
            );
        }
        let example = "message_length_adds = 0 if the length counts the whole block, itself included, or the number of bytes that it leaves out, such as 2";
        let adds = self.table.need("message_length_adds", example)?.integer(0..=255)? as u8;
        let skip = match skip {
            None => 0,
            Some(typed) => {
                let skip = typed.integer(0..=255)? as u8;
                if skip > 0 && usize::from(skip) < field.end() {
                    return Err(typed.refuse(format!(
                        "the length ends with byte {} of the block; expected 0 (it is part of the message), or {} and more",
                        field.end() - 1,
                        field.end()
                    )));
                }
                skip
            }
        };
        Ok(Some(MessageLength { field, adds, skip }))
    }
}

/// Reads rules, and checks them against the fields.
struct Rules<'a, 't, 'r> {
    reading: &'r Reading<'a, 't>,
    packet: bool,
    count: Option<Field>,
}

impl<'a> Rules<'a, '_, '_> {
    fn table(&self) -> &Table<'a> {
        self.reading.table
    }

    /// The rule under `key`; if the key is left out, one that matches no frame.
    fn rule(&self, key: &'static str) -> Result<Rule, ConfigError> {
        match self.table().get(key) {
            None => Ok(Rule::default()),
            Some(typed) => self.rule_of(&typed),
        }
    }

    fn rule_of(&self, typed: &Value<'a>) -> Result<Rule, ConfigError> {
        let expected = r#"a rule such as "count = 0", or a list of them"#;
        let texts = if typed.is_text() {
            vec![typed.string(expected)?]
        } else {
            typed.list(expected)?.map(|item| item.string(expected)).collect::<Result<_, _>>()?
        };
        if texts.is_empty() {
            return Err(typed.refuse("an empty list matches no frame; leave the key out"));
        }
        let rule = typed.refuse_with(field::rule(&texts, self.reading.big_endian))?;
        for test in &rule.0 {
            typed.refuse_with(self.sound(test))?;
        }
        Ok(rule)
    }

    /// Whether a test looks at something that exists.
    fn sound(&self, test: &Test) -> Result<(), String> {
        match (test.what, self.count) {
            (Looked::Count, None) if self.packet => Err(
                "packets are numbered, and have no count; recognise such frames by a field, such as \"u8 at 2 = 1\""
                    .to_owned(),
            ),
            (Looked::Count, Some(count)) if test.low > count.most() => {
                Err(format!("the count has {} bytes, and is at most {}", count.width, count.most()))
            }
            (Looked::Field(field, _), _) => {
                let (first, end) = (usize::from(field.at), field.end());
                match self.reading.taken.iter().find(|other| first < other.end && other.first < end) {
                    None => Ok(()),
                    Some(other) => Err(format!(
                        "the field at {first} is that of {}, bytes {} to {}; {}",
                        other.key,
                        other.first,
                        other.end - 1,
                        if matches!(other.key, "count" | "sequence") {
                            format!("write {} = ... for it", other.key)
                        } else {
                            "look at another one".to_owned()
                        },
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    /// The tests under a key that says what a publisher writes: fields of the header, all of them.
    fn written(&self, key: &'static str) -> Result<Vec<Test>, ConfigError> {
        let Some(typed) = self.table().get(key) else { return Ok(Vec::new()) };
        let rule = self.rule_of(&typed)?;
        let mut last = None;
        for test in &rule.0 {
            let place = match test.what {
                Looked::Field(field, _) if field.end() <= self.reading.header => field,
                _ => return Err(typed.refuse(r#"this is for fields of the header, such as "u8 at 0 = 1""#)),
            };
            if last == Some(place) || test.and {
                return Err(
                    typed.refuse("each entry is one field with one value or range, and all of them hold; write a list")
                );
            }
            last = Some(place);
        }
        Ok(rule.0)
    }

    fn heartbeat(&self) -> Result<Option<Heartbeat>, ConfigError> {
        let example = r#"how to recognise a heartbeat, such as heartbeat = "count = 0", or heartbeat = "none""#;
        let typed = self.table().need("heartbeat", example)?;
        if typed.is_text() && typed.string("a rule")? == "none" {
            for key in ["heartbeat_carries", "heartbeat_consumes", "heartbeat_resets"] {
                if let Some(typed) = self.table().get(key) {
                    return Err(typed.refuse(r#"there are no heartbeats: heartbeat = "none"; take this out"#));
                }
            }
            return Ok(None);
        }
        let when = self.rule_of(&typed)?;
        typed.refuse_with(self.not_of_data(&when, "a heartbeat"))?;
        let consumes = match self.table().get("heartbeat_consumes") {
            None => false,
            Some(typed) => {
                let consumes = typed.boolean()?;
                let counts_none =
                    |chain: &[Test]| chain.iter().any(|test| test.what == Looked::Count && test.high == 0);
                if consumes && when.alternatives().any(counts_none) {
                    return Err(typed.refuse(
                        "a heartbeat with a count of 0 consumes no number; take this out, or recognise heartbeats by something else",
                    ));
                }
                consumes
            }
        };
        let carries = match (self.table().get("heartbeat_carries"), consumes) {
            (None, true) => Carries::Next,
            (Some(typed), true) => {
                return Err(typed.refuse("a heartbeat that consumes a number carries that one; take this out"));
            }
            (None, false) => {
                let example =
                    r#"heartbeat_carries = "next" (the number expected next), "last" (the last one sent) or "nothing""#;
                return Err(self.table().missing("heartbeat_carries", example));
            }
            (Some(typed), false) => carries(&typed)?,
        };
        let resets = match self.table().get("heartbeat_resets") {
            None => false,
            Some(typed) => {
                let resets = typed.boolean()?;
                if resets && (consumes || carries == Carries::Nothing) {
                    return Err(typed.refuse(
                        "only a heartbeat that carries the next or the last number announces a restart; take this out",
                    ));
                }
                resets
            }
        };
        Ok(Some(Heartbeat { when, carries, consumes, resets }))
    }

    fn end(&self, heartbeat: Option<&Heartbeat>) -> Result<Option<(Rule, Carries)>, ConfigError> {
        let carried = self.table().get("end_carries");
        let Some(typed) = self.table().get("end") else {
            return match carried {
                None => Ok(None),
                Some(typed) => Err(typed.refuse("this needs end, which is missing; add end, or take this out")),
            };
        };
        let rule = self.rule_of(&typed)?;
        typed.refuse_with(self.not_of_data(&rule, "an end of session"))?;
        if let Some(heartbeat) = heartbeat {
            let same = |chain: &[Test]| heartbeat.when.alternatives().any(|other| other == chain);
            if rule.alternatives().any(same) {
                return Err(
                    typed.refuse("heartbeat says the same; tell an end from a heartbeat by another value or field")
                );
            }
        }
        let carries = match carried {
            None => Carries::Next,
            Some(typed) => match carries(&typed)? {
                Carries::Nothing => {
                    return Err(typed.refuse(r#"an end says after which number; expected "next" or "last""#));
                }
                carries => carries,
            },
        };
        Ok(Some((rule, carries)))
    }

    /// A rule for frames without messages must not match, by its count alone, frames that have messages.
    fn not_of_data(&self, rule: &Rule, what: &str) -> Result<(), String> {
        let Some(count) = self.count else { return Ok(()) };
        for chain in rule.alternatives() {
            if let [Test { what: Looked::Count, low, high, .. }] = *chain
                && !(high == 0 || low > count.most() / 2)
            {
                return Err(format!(
                    "every frame with a count of {} would be {what}; expected a count of 0, one that no frame has, such as {}, or a field beside it",
                    low.max(1),
                    count.most()
                ));
            }
        }
        Ok(())
    }
}

fn carries(typed: &Value<'_>) -> Result<Carries, ConfigError> {
    match choose(typed)? {
        "next" => Ok(Carries::Next),
        "last" => Ok(Carries::Last),
        "nothing" => Ok(Carries::Nothing),
        other => {
            Err(typed.refuse(format!(r#"{other:?} is not a number to carry; expected "next", "last" or "nothing""#)))
        }
    }
}
