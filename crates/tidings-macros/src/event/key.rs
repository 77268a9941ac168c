//! The key of an event: a path of fields, checked against the fields that there are.

use crate::attributes::{any_word, listed, nearest};
use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::{Error, Fields, Ident, Index, LitStr, Member, Path, Result, Type};

/// `customer.id` of `key = "customer.id"`.
#[derive(Clone)]
pub(super) struct KeyPath {
    literal: LitStr,
    first: String,
    rest: Vec<Member>,
}

/// A key path whose first field was found.
pub(super) struct KeyField {
    pub(super) member: Member,
    pub(super) ty: Type,
    rest: Vec<Member>,
    span: Span,
}

impl KeyPath {
    pub(super) fn parse(literal: LitStr) -> Result<Self> {
        let value = literal.value();
        let steps: Option<Vec<Member>> = value
            .split('.')
            .map(|step| member(step, literal.span()))
            .collect();
        let steps = steps.ok_or_else(|| {
            let said = format!(
                "{value:?} is not a field; `key` takes a field's name, an index, or a path such as \"customer.id\""
            );
            Error::new(literal.span(), said)
        })?;
        let first = value.split('.').next().unwrap_or_default().to_owned();
        Ok(Self {
            literal,
            first,
            rest: steps.into_iter().skip(1).collect(),
        })
    }

    pub(super) fn span(&self) -> Span {
        self.literal.span()
    }

    /// The first field of the path, if these fields have it.
    pub(super) fn find(&self, fields: &Fields) -> Option<KeyField> {
        let (place, field) = fields
            .iter()
            .enumerate()
            .find(|(place, field)| field_name(*place, field.ident.as_ref()) == self.first)?;
        let member = match &field.ident {
            Some(name) => Member::Named(name.clone()),
            None => Member::Unnamed(Index::from(place)),
        };
        Some(KeyField {
            member,
            ty: field.ty.clone(),
            rest: self.rest.clone(),
            span: self.literal.span(),
        })
    }

    /// Says that `owner` lacks the field, and what it has.
    pub(super) fn missing(&self, owner: &str, fields: &Fields, span: Span) -> Error {
        let names: Vec<String> = fields
            .iter()
            .enumerate()
            .map(|(place, field)| field_name(place, field.ident.as_ref()))
            .collect();
        let there = match names.as_slice() {
            [] => "it has no fields".to_owned(),
            [only] => format!("its only field is `{only}`"),
            names => format!("its fields are {}", listed(names)),
        };
        // An index that is not there is no slip of the finger.
        let is_word = !self.first.starts_with(|letter: char| letter.is_ascii_digit());
        let meant = nearest(&self.first, &names)
            .filter(|_| is_word)
            .map(|near| format!("; did you mean `{near}`?"));
        let said = format!(
            "{owner} has no field `{}` to be its key; {there}{}",
            self.first,
            meant.unwrap_or_default()
        );
        Error::new(span, said)
    }
}

impl KeyField {
    /// The key's bytes, of `place`: an expression for the first field.
    ///
    /// The field's type is written out where it is known, so that an error about it points to the field.
    pub(super) fn to_key(&self, tidings: &Path, place: &TokenStream) -> TokenStream {
        let Self { ty, rest, .. } = self;
        if rest.is_empty() {
            return quote!(<#ty as #tidings::EventKey>::to_key(&#place));
        }
        let span = Span::call_site().located_at(self.span);
        respanned(&quote!(#tidings::EventKey::to_key(&#place #(.#rest)*)), span)
    }

    /// The type that must be a key, unless the path goes on behind it.
    pub(super) fn bound_type(&self) -> Option<&Type> {
        self.rest.is_empty().then_some(&self.ty)
    }
}

/// An error about a path points to the text of the path.
fn respanned(tokens: &TokenStream, span: Span) -> TokenStream {
    tokens
        .clone()
        .into_iter()
        .map(|mut token| {
            if let TokenTree::Group(group) = &token {
                token = Group::new(group.delimiter(), respanned(&group.stream(), span)).into();
            }
            token.set_span(token.span().located_at(span));
            token
        })
        .collect()
}

fn field_name(place: usize, name: Option<&Ident>) -> String {
    name.map_or_else(|| place.to_string(), |name| name.unraw().to_string())
}

/// One step of a path: a field's name or an index. None if it can be neither.
fn member(step: &str, span: Span) -> Option<Member> {
    if let Ok(index) = step.parse::<u32>() {
        return Some(Member::Unnamed(Index { index, span }));
    }
    let mut name = syn::parse_str::<Ident>(step)
        .or_else(|_| syn::parse_str::<Ident>(&format!("r#{step}")))
        .ok()?;
    name.set_span(Span::call_site().located_at(span));
    Some(Member::Named(name))
}

/// Whether a type names one of these parameters.
pub(super) fn mentions(ty: &Type, parameters: &[Ident]) -> bool {
    any_word(ty, |word| parameters.iter().any(|parameter| parameter == word))
}
