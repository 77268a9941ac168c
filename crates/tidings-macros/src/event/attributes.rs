//! `#[event(…)]`, read.

use super::key::KeyPath;
use super::name::checked;
use crate::attributes::{Keys, crate_value, default_crate, integer_value, string_value};
use proc_macro2::Span;
use syn::parse::ParseStream;
use syn::{Attribute, Error, Ident, LitStr, Path, Result, Type};

/// What stands on the type.
pub(super) struct EventAttributes {
    pub(super) name: Option<String>,
    pub(super) key: Option<KeyPath>,
    pub(super) version: u32,
    pub(super) codec: Option<Type>,
    pub(super) tidings: Path,
}

impl EventAttributes {
    /// What a type without `#[event(…)]` has.
    pub(super) fn nothing() -> Self {
        Self {
            name: None,
            key: None,
            version: 1,
            codec: None,
            tidings: default_crate(),
        }
    }

    /// Fills in what `attributes` say. What was read before an error stays, so that the rest can be checked too.
    pub(super) fn read(&mut self, attributes: &[Attribute]) -> Result<()> {
        let mut keys = Keys::new("event", &["name", "key", "version", "codec", "crate"]);
        keys.read(attributes, |key, input| self.take(key, input))
    }

    fn take(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        match key.to_string().as_str() {
            "name" => self.name = Some(name_value(key, input)?.0),
            "key" => self.key = Some(KeyPath::parse(string_value(key, input, "order_id")?)?),
            "version" => self.version = version_value(key, input)?,
            "codec" => self.codec = Some(codec_value(key, input)?),
            _ => self.tidings = crate_value(key, input)?,
        }
        Ok(())
    }
}

/// What stands on a variant of an enum.
#[derive(Default)]
pub(super) struct VariantAttributes {
    pub(super) name: Option<(String, Span)>,
    pub(super) key: Option<KeyPath>,
    /// The variant wraps an event, and has that one's name and key.
    pub(super) transparent: Option<Span>,
}

impl VariantAttributes {
    pub(super) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        let mut keys = Keys::new("event", &["name", "key", "transparent"]);
        keys.read(attributes, |key, input| found.take(key, input))?;
        match found.transparent {
            Some(span) if found.name.is_some() || found.key.is_some() => Err(Error::new(
                span,
                "a transparent variant has the name and the key of the event that it wraps; remove `name` and `key`",
            )),
            _ => Ok(found),
        }
    }

    fn take(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        match key.to_string().as_str() {
            "name" => self.name = Some(name_value(key, input)?),
            "key" => self.key = Some(KeyPath::parse(string_value(key, input, "order_id")?)?),
            _ => self.transparent = Some(key.span()),
        }
        Ok(())
    }
}

fn name_value(key: &Ident, input: ParseStream<'_>) -> Result<(String, Span)> {
    let literal: LitStr = string_value(key, input, "order.placed")?;
    Ok((checked(&literal)?, literal.span()))
}

fn codec_value(key: &Ident, input: ParseStream<'_>) -> Result<Type> {
    let literal: LitStr = string_value(key, input, "tidings::TextCodec")?;
    literal.parse().map_err(|_| {
        let said = format!(
            "{:?} is not a type, for example \"tidings::TextCodec\"",
            literal.value()
        );
        Error::new(literal.span(), said)
    })
}

fn version_value(key: &Ident, input: ParseStream<'_>) -> Result<u32> {
    let literal = integer_value(key, input, "2")?;
    match literal.base10_parse::<u32>() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(Error::new(
            literal.span(),
            format!("versions count from 1 to {}; the first may be left out", u32::MAX),
        )),
    }
}
