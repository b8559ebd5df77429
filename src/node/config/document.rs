//! The feed file as typed: its tables and values, each with its line, and the messages for values that are not what was
//! expected. `read` knows what the values mean.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, KEYS, parse_duration, parse_size};
use twinline_core::Nanos;

/// Longer than any text that a feed file may have, and short enough for a message.
const TEXT_BYTES_MAX: usize = 256;

/// The text of a file's bytes.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, ConfigError> {
    if bytes.len() as u64 > super::FILE_BYTES_MAX {
        return Err(ConfigError::refused(
            1,
            "",
            "this is larger than 1 MiB, and so not a feed file; name the feed file",
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = line_at(bytes, error.valid_up_to());
        ConfigError::refused(line, "", "this is not UTF-8 text; name a feed file, which is TOML in UTF-8")
    })
}

fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count()
}

/// A file that is TOML.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str) -> Result<Document<'a>, ConfigError> {
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            // some of its messages span several lines
            let why = error.message().lines().map(str::trim).collect::<Vec<_>>().join("; ");
            let line = line_at(text.as_bytes(), offset);
            ConfigError::refused(
                line,
                "",
                format!("this is not TOML ({why}); see feeds/README.md for what a feed file holds"),
            )
        })?;
        Ok(Document { text, table })
    }

    /// The file's top table.
    pub(super) fn top(&self) -> Result<Table<'_>, ConfigError> {
        Table::open(self.text, "", 1, self.table.get_ref())
    }
}

/// A table of the file, all of whose keys are known.
#[derive(Debug)]
pub(super) struct Table<'a> {
    text: &'a str,
    name: &'static str,
    line: usize,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    fn open(
        text: &'a str,
        name: &'static str,
        line: usize,
        entries: &'a DeTable<'a>,
    ) -> Result<Table<'a>, ConfigError> {
        let known = keys_of(name);
        // entries are in alphabetical order, but a reader fixes the first in the file first
        let unknown = entries.keys().filter(|key| !known.contains(&key.as_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(Table { text, name, line, entries }),
            Some(key) => {
                let line = line_at(text.as_bytes(), key.span().start);
                let typed: &str = key.as_ref();
                Err(ConfigError::refused(line, path(name, typed), unknown_key(name, typed)))
            }
        }
    }

    /// The value of a key that may be left out.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(keys_of(self.name).contains(&key), "{key} is not in KEYS");
        let value = self.entries.get(key)?;
        Some(Value { text: self.text, table: self.name, key, value })
    }

    /// The value of a key that may not be left out.
    pub(super) fn need(&self, key: &'static str, example: &str) -> Result<Value<'a>, ConfigError> {
        self.get(key).ok_or_else(|| self.missing(key, example))
    }

    /// The error for a missing key.
    pub(super) fn missing(&self, key: &'static str, example: &str) -> ConfigError {
        let line = self.line;
        let whose = match self.name {
            "" => "a feed",
            "line" => "this [[line]]",
            _ => "this table",
        };
        ConfigError::refused(line, path(self.name, key), format!("{whose} has no {key}; add {example}"))
    }
}

/// A value of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    text: &'a str,
    table: &'static str,
    key: &'static str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn line(&self) -> usize {
        line_at(self.text.as_bytes(), self.value.span().start)
    }

    /// Its key.
    pub(super) fn key(&self) -> &'static str {
        self.key
    }

    /// Refuses this value.
    pub(super) fn refuse(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::refused(self.line(), path(self.table, self.key), problem)
    }

    /// Adds the place to what a check of the value says is wrong.
    pub(super) fn refuse_with<T>(&self, checked: Result<T, String>) -> Result<T, ConfigError> {
        checked.map_err(|problem| self.refuse(problem))
    }

    /// Whether it is text, for keys that may also have other values.
    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    fn expected(&self, what: &str) -> ConfigError {
        self.refuse(format!("expected {what}, found {}", found(self.value.get_ref())))
    }

    pub(super) fn string(&self, expected: &str) -> Result<&'a str, ConfigError> {
        let text = self.value.get_ref().as_str().ok_or_else(|| self.expected(expected))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(self.refuse(format!("expected {expected}, found a text of {} bytes", text.len())));
        }
        Ok(text)
    }

    /// A share above zero and up to one, in billionths; 1 is `None`: all.
    pub(super) fn share(&self, expected: &str) -> Result<Option<u32>, ConfigError> {
        let typed = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Integer(number) => number.to_string(),
            _ => return Err(self.expected(expected)),
        };
        let billionths = typed.parse::<f64>().map_or(f64::NAN, |share| (share * 1e9).round());
        match billionths {
            1e9 => Ok(None),
            1.0..1e9 => Ok(Some(billionths as u32)),
            _ => Err(self.expected(expected)),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// The values of a list, each at its own line.
    pub(super) fn list(
        &self,
        expected: &str,
    ) -> Result<impl ExactSizeIterator<Item = Value<'a>> + use<'a>, ConfigError> {
        let Value { text, table, key, .. } = *self;
        let items = self.value.get_ref().as_array().ok_or_else(|| self.expected(expected))?;
        Ok(items.iter().map(move |value| Value { text, table, key, value }))
    }

    /// The table that this value is, opened under the name that it has in [`KEYS`].
    pub(super) fn table(&self, expected: &str) -> Result<Table<'a>, ConfigError> {
        match self.value.get_ref() {
            DeValue::Table(entries) => Table::open(self.text, self.key, self.line(), entries),
            _ => Err(self.expected(expected)),
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let number = self.value.get_ref().as_integer().ok_or_else(|| self.expected(&expected))?;
        let within = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| range.contains(n));
        within.ok_or_else(|| self.refuse(format!("expected {expected}, found {}", short(&number.to_string()))))
    }

    /// A number of bytes within `range`, as a whole number or with a unit.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let expected = r#"a number of bytes, such as 65536 or "64MiB""#;
        match self.value.get_ref() {
            DeValue::String(_) => {
                let typed = self.string(expected)?;
                let bytes = self.refuse_with(parse_size(typed))?;
                let (least, most) = (super::size_text(*range.start()), super::size_text(*range.end()));
                if range.contains(&bytes) {
                    Ok(bytes)
                } else {
                    Err(self.refuse(format!("{typed:?} is out of range; expected {least} to {most}")))
                }
            }
            DeValue::Integer(_) => self.integer(range),
            _ => Err(self.expected(expected)),
        }
    }

    /// A duration above zero and no longer than an hour.
    pub(super) fn duration(&self, expected: &str) -> Result<Nanos, ConfigError> {
        let typed = self.string(expected)?;
        let span = self.refuse_with(parse_duration(typed))?;
        if span > Nanos::ZERO && span <= Nanos::from_secs(3_600) {
            Ok(span)
        } else {
            Err(self.refuse(format!("{typed:?} is out of range; expected more than 0ns and no more than 3600s")))
        }
    }
}

fn keys_of(table: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(name, _)| *name == table).map_or(&[], |(_, keys)| keys)
}

/// `arbiter.settle`, or `name` at the top.
fn path(table: &str, key: &str) -> String {
    let key = short(key).escape_debug();
    if table.is_empty() { key.to_string() } else { format!("{table}.{key}") }
}

/// How a table is written in the file.
fn written(table: &str) -> String {
    match table {
        "" => "the top of the file".to_owned(),
        "line" => "[[line]]".to_owned(),
        _ => format!("[{table}]"),
    }
}

fn unknown_key(table: &str, typed: &str) -> String {
    if typed.starts_with("recovery") {
        return "this needs recovery, which this version does not have; take the key out".to_owned();
    }
    let known = keys_of(table);
    if !known.contains(&typed)
        && let Some((owner, _)) = KEYS.iter().find(|(_, keys)| keys.contains(&typed))
    {
        return format!("this is not a key of {}; it belongs under {}", written(table), written(owner));
    }
    format!("this is not a key of {}; {}", written(table), choice(typed, known, "keys there"))
}

/// What to write instead of `typed`: the nearest name in `known`, and all of them.
pub(super) fn choice(typed: &str, known: &[&str], what: &str) -> String {
    let all = known.join(", ");
    match nearest(typed, known) {
        Some(near) => format!("did you mean {near}? The {what} are: {all}"),
        None => format!("the {what} are: {all}"),
    }
}

/// The name in `known` that `typed` was most likely meant to be.
pub fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let typed = short(typed).to_lowercase().replace('-', "_");
    let distance = |name: &&str| strsim::damerau_levenshtein(&typed, &name.replace('-', "_"));
    let contains = |name: &&&str| typed.len() >= 4 && (name.contains(&*typed) || typed.contains(**name));
    let near = known.iter().min_by_key(|name| distance(name)).filter(|name| distance(name) <= 1 + typed.len() / 4);
    near.or_else(|| known.iter().find(contains)).copied()
}

/// The part of a name that fits into a message.
fn short(text: &str) -> &str {
    match text.char_indices().nth(64) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {:?}", short(text)),
        DeValue::Integer(number) => format!("the number {}", short(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", short(number.as_str())),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
