//! The two forms of text in `[fixed]`: a field, and a rule.

use twinline_core::framing::fixed::{Field, FixedConfig, Looked, Rule, SessionField, Test};

/// How many bytes into a datagram a rule may look; beyond that, messages are not where a header says.
const LOOK_MAX: usize = 512;
/// How many tests a key may have, counting every value of a list.
const TESTS_MAX: usize = 32;

const TYPES: &str = "u8, u16, u32 or u64";

/// The field that `typed` describes, such as `u32 at 4`; `be` or `le` after the type overrides `big_endian`.
pub(super) fn field(typed: &str, big_endian: bool) -> Result<Field, String> {
    let (kind, at) = kind_and_place(typed)?;
    let (number, big_endian) = match (kind.strip_suffix("be"), kind.strip_suffix("le")) {
        (Some(number), _) => (number, true),
        (_, Some(number)) => (number, false),
        _ => (kind, big_endian),
    };
    let width = match number {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        _ => {
            return Err(format!(
                r#"{kind:?} is not a number type; expected {TYPES}, for 1, 2, 4 or 8 bytes, such as "u32 at 4""#
            ));
        }
    };
    Ok(Field { at, width, big_endian })
}

/// The session field that `typed` describes: a number, or text such as `text10 at 0`.
pub(super) fn session(typed: &str, big_endian: bool) -> Result<SessionField, String> {
    let (kind, at) = kind_and_place(typed)?;
    let Some(len) = kind.strip_prefix("text") else {
        return field(typed, big_endian).map(SessionField::Number);
    };
    match len.parse() {
        Ok(len @ 1..=14) => Ok(SessionField::Text { at, len }),
        _ => Err(format!(r#"{kind:?} is not a session type; expected text1 to text14, such as "text10 at 0""#)),
    }
}

fn kind_and_place(typed: &str) -> Result<(&str, u16), String> {
    let mut words = typed.split_whitespace();
    let (Some(kind), Some("at"), Some(at), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(format!(r#"{typed:?} is not a field; expected its type and where it begins, such as "u32 at 4""#));
    };
    let place = number(at).filter(|at| *at <= FixedConfig::HEADER_MAX as u64 * 2);
    match place.and_then(|at| u16::try_from(at).ok()) {
        Some(at) => Ok((kind, at)),
        None => Err(format!(
            "{at:?} is not a place in a header; expected the number of bytes before the field, 0 for the first one"
        )),
    }
}

/// The rule that a list of texts describes.
pub(super) fn rule(texts: &[&str], big_endian: bool) -> Result<Rule, String> {
    let mut tests = Vec::new();
    for text in texts {
        let mut chains: Vec<Vec<Test>> = vec![Vec::new()];
        for part in text.split(" and ") {
            let values = test(part.trim(), big_endian)?;
            // each value of a list is an alternative
            chains = chains
                .iter()
                .flat_map(|chain| values.iter().map(move |value| [chain.as_slice(), &[*value]].concat()))
                .collect();
            if chains.len() > TESTS_MAX {
                break;
            }
        }
        for mut chain in chains {
            let last = chain.len() - 1;
            chain[..last].iter_mut().for_each(|test| test.and = true);
            tests.append(&mut chain);
        }
        if tests.len() > TESTS_MAX {
            return Err(format!(
                "this has more than {TESTS_MAX} tests, counting every value of a list; say it with fewer, such as 17 to 21"
            ));
        }
    }
    Ok(Rule(tests))
}

/// A test, once per value of its list.
fn test(typed: &str, big_endian: bool) -> Result<Vec<Test>, String> {
    let Some((what, values)) = typed.split_once('=') else {
        return Err(format!(
            r#"{typed:?} is not a rule; expected what must have which value, such as "count = 0" or "u8 at 2 = 17 to 21""#
        ));
    };
    let what = looked(what.trim(), big_endian)?;
    let most = match what {
        Looked::Field(_, mask) => mask,
        _ => u64::MAX,
    };
    let mut tests = Vec::new();
    for value in values.split(',') {
        let (low, high) = value.split_once(" to ").unwrap_or((value, value));
        let (Some(low), Some(high)) = (number(low.trim()), number(high.trim())) else {
            return Err(format!(
                "{:?} is not a value; expected a number, a letter in quotes such as 'T', or a range such as 17 to 21",
                value.trim()
            ));
        };
        if low > high {
            return Err(format!("{:?} is an empty range; put the lower number first", value.trim()));
        }
        if high > most {
            return Err(format!(
                "{high} is more than {} can have; the most is {most}",
                typed.split('=').next().unwrap_or("").trim()
            ));
        }
        tests.push(Test { what, low, high, and: false });
    }
    Ok(tests)
}

fn looked(typed: &str, big_endian: bool) -> Result<Looked, String> {
    match typed {
        "sequence" => return Ok(Looked::Sequence),
        "count" => return Ok(Looked::Count),
        "body" => return Ok(Looked::Body),
        _ => {}
    }
    if !typed.contains(' ') {
        return Err(format!(
            r#"{typed:?} is not something that a rule can look at; expected count, sequence, body (the number of bytes after the header) or a field, such as "u8 at 2""#
        ));
    }
    let (place, mask) = match typed.split_once('&') {
        Some((place, mask)) => (place, Some(mask.trim())),
        None => (typed, None),
    };
    let field = field(place, big_endian)?;
    if field.end() > LOOK_MAX {
        return Err(format!("{:?} is too far in: a rule looks at the first {LOOK_MAX} bytes", place.trim()));
    }
    let mask = match mask.map(|mask| (mask, number(mask))) {
        None => field.most(),
        Some((_, Some(mask @ 1..))) if mask <= field.most() => mask,
        Some((mask, _)) => {
            return Err(format!("{mask:?} is not a mask of {:?}; expected its bits, such as 0x10", place.trim()));
        }
    };
    Ok(Looked::Field(field, mask))
}

/// `16`, `0x10`, or `'T'`.
fn number(typed: &str) -> Option<u64> {
    if let Some(letter) = typed.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return match letter.as_bytes() {
            [byte] => Some(u64::from(*byte)),
            _ => None,
        };
    }
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && !digits.is_empty();
    match typed.strip_prefix("0x") {
        Some(digits) if plain(digits) => u64::from_str_radix(digits, 16).ok(),
        None if plain(typed) => typed.parse().ok(),
        _ => None,
    }
}
