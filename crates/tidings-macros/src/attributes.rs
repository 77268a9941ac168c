//! What all attributes share: `key = value` lists, and errors that name the key that was meant.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Expr, Ident, LitInt, LitStr, Path, Result, Token, Type};

/// The keys that one attribute knows, and those that were already read. An attribute may be split over several
/// `#[…]`, and a key given twice is an error all the same.
pub(crate) struct Keys {
    attribute: &'static str,
    known: &'static [&'static str],
    seen: Vec<Ident>,
}

impl Keys {
    pub(crate) fn new(attribute: &'static str, known: &'static [&'static str]) -> Self {
        Self {
            attribute,
            known,
            seen: Vec::new(),
        }
    }

    /// Reads every `#[attribute(…)]` among `attributes`; `take` reads the value of each key.
    pub(crate) fn read(
        &mut self,
        attributes: &[Attribute],
        mut take: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
    ) -> Result<()> {
        let ours = attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident(self.attribute));
        for attribute in ours {
            let list = attribute.meta.require_list()?;
            let parser = |input: ParseStream<'_>| self.read_list(input, &mut take);
            parser.parse2(list.tokens.clone())?;
        }
        Ok(())
    }

    /// Reads `key = value, key, …`.
    pub(crate) fn read_list(
        &mut self,
        input: ParseStream<'_>,
        mut take: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
    ) -> Result<()> {
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            self.check(&key)?;
            take(&key, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn check(&mut self, key: &Ident) -> Result<()> {
        let name = key.to_string();
        if !self.known.contains(&name.as_str()) {
            let known = listed(self.known);
            let cure = match nearest(&name, self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it knows {known}"),
            };
            let said = format!("`#[{}]` has no key `{name}` here; {cure}", self.attribute);
            return Err(Error::new(key.span(), said));
        }
        if self.seen.contains(key) {
            let said = format!("`{name}` is given twice; keep one");
            return Err(Error::new(key.span(), said));
        }
        self.seen.push(key.clone());
        Ok(())
    }
}

/// The string after `key =`.
pub(crate) fn string_value(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<LitStr> {
    expect_value(key, input, &format!("\"{example}\""))?;
    if input.peek(LitStr) {
        return input.parse();
    }
    let found: Expr = input.parse()?;
    let said = format!("`{key}` takes a string literal, for example `{key} = \"{example}\"`");
    Err(Error::new_spanned(found, said))
}

/// The number after `key =`.
pub(crate) fn integer_value(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<LitInt> {
    expect_value(key, input, example)?;
    if input.peek(LitInt) {
        return input.parse();
    }
    let found: Expr = input.parse()?;
    let said = format!("`{key}` takes an integer literal, for example `{key} = {example}`");
    Err(Error::new_spanned(found, said))
}

/// The path after `crate =`: where the generated code finds Tidings.
pub(crate) fn crate_value(key: &Ident, input: ParseStream<'_>) -> Result<Path> {
    let literal = string_value(key, input, "tidings_core")?;
    literal.parse_with(Path::parse_mod_style).map_err(|_| {
        let said = format!(
            "{:?} is not the path of a crate, for example \"tidings_core\"",
            literal.value()
        );
        Error::new(literal.span(), said)
    })
}

/// Takes the `=`, or says how the whole should look.
pub(crate) fn expect_value(key: &Ident, input: ParseStream<'_>, example: &str) -> Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        return Ok(());
    }
    let said = format!("`{key}` needs a value: `{key} = {example}`");
    Err(Error::new(key.span(), said))
}

/// Where the generated code finds Tidings unless `crate = "…"` says otherwise.
pub(crate) fn default_crate() -> Path {
    syn::parse_quote!(::tidings)
}

/// Joins errors, so that one compilation shows all of them.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value, or none and the error kept.
    pub(crate) fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// "`a`, `b`".
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}

/// A type as people write it: tokens are printed with spaces between them.
pub(crate) fn readable(ty: &Type) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (spaced, tight) in [
        (" :: ", "::"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}

/// Whether one of the words in a type is such.
pub(crate) fn any_word(ty: &Type, is_such: impl Fn(&str) -> bool + Copy) -> bool {
    fn any(tokens: TokenStream, is_such: impl Fn(&str) -> bool + Copy) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => is_such(&word.to_string()),
            TokenTree::Group(group) => any(group.stream(), is_such),
            _ => false,
        })
    }
    any(ty.to_token_stream(), is_such)
}

/// The candidate that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a, T: AsRef<str>>(given: &str, candidates: &'a [T]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|candidate| (distance(given, candidate.as_ref()), candidate.as_ref()))
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_key_that_was_meant() {
        let known = ["name", "key", "version", "codec", "crate"];
        let cases = [
            ("nmae", Some("name")),
            ("kye", Some("key")),
            ("versoin", Some("version")),
            ("Name", Some("name")),
            ("keys", Some("key")),
            ("topic", None),
            ("", None),
        ];
        for (given, meant) in cases {
            assert_eq!(nearest(given, &known), meant, "{given}");
        }
    }
    #[test]
    fn a_type_is_shown_as_people_write_it() {
        for text in [
            "Order",
            "std::sync::Arc<Bank>",
            "Result<Vec<(u8, Order)>, Failure>",
            "&'static str",
            "[u8; 4]",
        ] {
            let ty: Type = syn::parse_str(text).unwrap();
            assert_eq!(readable(&ty), text);
        }
    }
    #[test]
    fn a_word_is_found_wherever_it_stands_in_a_type() {
        for text in [
            "T",
            "Changed<T>",
            "Changed<(u8, [T; 4])>",
            "a::T::b",
            "&'static mut T",
        ] {
            let ty: Type = syn::parse_str(text).unwrap();
            assert!(any_word(&ty, |word| word == "T"), "{text}");
        }
        let ty: Type = syn::parse_str("Changed<Text>").unwrap();
        assert!(!any_word(&ty, |word| word == "T"));
    }
}
