//! Names of events: the default one, and what a name may not be.

use syn::{Error, LitStr, Result};

/// The name of an event whose type has that name: `OrderPlaced` is `order.placed`, `HTTPRequestSent` is
/// `http.request.sent`.
pub(super) fn dotted(type_name: &str) -> String {
    let letters: Vec<char> = type_name.trim_start_matches("r#").chars().collect();
    let mut name = String::with_capacity(letters.len() + 4);
    for (place, letter) in letters.iter().enumerate() {
        if *letter == '_' {
            push_dot(&mut name);
            continue;
        }
        let before = place.checked_sub(1).and_then(|place| letters.get(place));
        let starts_word = letter.is_uppercase()
            && match (before, letters.get(place + 1)) {
                (Some(before), _) if before.is_lowercase() || before.is_numeric() => true,
                // The last capital of several belongs to the word that follows: HTTP|Request.
                (Some(before), Some(after)) => before.is_uppercase() && after.is_lowercase(),
                _ => false,
            };
        if starts_word {
            push_dot(&mut name);
        }
        name.extend(letter.to_lowercase());
    }
    name.trim_end_matches('.').to_owned()
}

fn push_dot(name: &mut String) {
    if !name.is_empty() && !name.ends_with('.') {
        name.push('.');
    }
}

/// A name is the value of a header, compared exactly: nothing invisible may be in it.
pub(super) fn checked(name: &LitStr) -> Result<String> {
    let value = name.value();
    let wrong = if value.is_empty() {
        "the name of an event can't be empty; leave `name` out to have the type's name"
    } else if value.chars().any(char::is_control) {
        "the name of an event can't have control characters"
    } else if value.trim() != value {
        "the name of an event can't begin or end with a space"
    } else {
        return Ok(value);
    };
    Err(Error::new(name.span(), wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_s_name_is_dotted_at_its_words() {
        let cases = [
            ("OrderPlaced", "order.placed"),
            ("Order", "order"),
            ("HTTPRequestSent", "http.request.sent"),
            ("OrderV2", "order.v2"),
            ("OrderV2Placed", "order.v2.placed"),
            ("Order_Placed", "order.placed"),
            ("order_placed", "order.placed"),
            ("_Order_", "order"),
            ("r#Type", "type"),
            ("ID", "id"),
            ("UserID", "user.id"),
            ("ÄrgerGemeldet", "ärger.gemeldet"),
            ("A", "a"),
        ];
        for (type_name, name) in cases {
            assert_eq!(dotted(type_name), name, "{type_name}");
        }
    }
}
