//! Arguments as the server is to get them.

use lapin::types::{AMQPValue, FieldTable};
use std::collections::BTreeMap;

/// The arguments of a binding to an exchange by headers; none if the text says none.
pub(crate) fn headers_of(binding: &str) -> Option<FieldTable> {
    let (separator, matches) = match (binding.contains('&'), binding.contains('|')) {
        (true, true) => return None,
        (_, false) => ('&', "all"),
        (false, true) => ('|', "any"),
    };
    let mut table = FieldTable::default();
    table.insert("x-match".into(), AMQPValue::LongString(matches.into()));
    for pair in binding.split(separator) {
        let (name, value) = pair.split_once('=')?;
        let name = lapin::types::ShortString::try_new(name.trim()).ok()?;
        if name.as_str().is_empty() || name.as_str() == "x-match" {
            return None;
        }
        table.insert(name, AMQPValue::LongString(value.trim().into()));
    }
    Some(table)
}

/// Arguments as the server is to get them.
pub(crate) fn arguments(all: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, AMQPValue)> {
    all.iter().map(|(name, text)| {
        let value = match (text.as_str(), text.parse()) {
            ("true", _) => AMQPValue::Boolean(true),
            ("false", _) => AMQPValue::Boolean(false),
            (_, Ok(number)) => AMQPValue::LongLongInt(number),
            (text, Err(_)) => AMQPValue::LongString(text.into()),
        };
        (name.as_str(), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_match_all_or_any_of_them() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let all = headers_of("region=eu & tier = gold").unwrap();
        assert_eq!(all.inner().get("x-match"), Some(&text("all")));
        assert_eq!(all.inner().get("tier"), Some(&text("gold")));
        let any = headers_of("region=eu|region2=us").unwrap();
        assert_eq!(any.inner().get("x-match"), Some(&text("any")));
        assert_eq!(headers_of("one=1").unwrap().inner().len(), 2);
    }

    #[test]
    fn arguments_keep_their_types() {
        let given = [("a", "5"), ("b", "true"), ("c", "five")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let written: Vec<_> = arguments(&given.into())
            .map(|(_, value)| value)
            .collect::<Vec<_>>();
        let expected = [
            AMQPValue::LongLongInt(5),
            AMQPValue::Boolean(true),
            AMQPValue::LongString("five".into()),
        ];
        assert_eq!(written, expected);
    }
}
