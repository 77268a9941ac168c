//! `#[derive(Event)]`.

mod attributes;
mod key;
mod name;
mod structs;
mod variants;

use crate::attributes::Errors;
use attributes::EventAttributes;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Field, Ident, Result, Type, parse_quote};

/// The implementation; with errors, those and an implementation that keeps the compiler from complaining about its
/// absence at every place where the event is used.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut attributes = EventAttributes::nothing();
    let mut errors = Errors::default();
    errors.keep(attributes.read(&input.attrs));
    errors.keep(check_lifetimes(input));
    let parts = errors.keep(parts(&attributes, input)).unwrap_or_default();
    match errors.into_result() {
        Ok(()) => implementation(&attributes, input, &parts),
        Err(error) => {
            let errors = error.to_compile_error();
            if input.generics.lifetimes().next().is_some() {
                return errors;
            }
            let placeholder = EventAttributes {
                tidings: attributes.tidings,
                ..EventAttributes::nothing()
            };
            let rest = implementation(&placeholder, input, &Parts::default());
            quote!(#errors #rest)
        }
    }
}

/// What the shape of the type adds to the implementation.
#[derive(Default)]
struct Parts {
    methods: TokenStream,
    /// Types that hold a type parameter and must be keys.
    keys: Vec<Type>,
    /// Types that hold a type parameter and must be events.
    events: Vec<Type>,
}

fn parts(attributes: &EventAttributes, input: &DeriveInput) -> Result<Parts> {
    match &input.data {
        Data::Struct(data) => structs::parts(attributes, input, &data.fields),
        Data::Enum(data) => variants::parts(attributes, input, data),
        Data::Union(data) => Err(Error::new(
            data.union_token.span,
            "a union can't be an event: nothing says which of its fields is there; use an enum",
        )),
    }
}

fn implementation(attributes: &EventAttributes, input: &DeriveInput, parts: &Parts) -> TokenStream {
    let EventAttributes {
        name,
        version,
        codec,
        tidings,
        ..
    } = attributes;
    let ident = &input.ident;
    let name = name.clone().unwrap_or_else(|| name::dotted(&ident.to_string()));
    let codec = match codec {
        Some(codec) => quote!(#codec),
        None => quote!(#tidings::JsonCodec),
    };
    let generics = bounded(input, tidings, parts);
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let methods = &parts.methods;
    quote! {
        #[automatically_derived]
        impl #parameters #tidings::Event for #ident #arguments #conditions {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            type Codec = #codec;
            #methods
        }
    }
}

/// The type's generics with what an event asks of them.
fn bounded(input: &DeriveInput, tidings: &syn::Path, parts: &Parts) -> syn::Generics {
    let mut generics = input.generics.clone();
    let parameters = type_parameters(input);
    if parameters.is_empty() {
        return generics;
    }
    let conditions = &mut generics.make_where_clause().predicates;
    for parameter in &parameters {
        conditions.push(parse_quote!(
            #parameter: ::core::marker::Send + ::core::marker::Sync + 'static
        ));
    }
    for ty in parts.keys.iter().filter(|ty| key::mentions(ty, &parameters)) {
        conditions.push(parse_quote!(#ty: #tidings::EventKey));
    }
    for ty in parts.events.iter().filter(|ty| key::mentions(ty, &parameters)) {
        conditions.push(parse_quote!(#ty: #tidings::Event));
    }
    generics
}

fn type_parameters(input: &DeriveInput) -> Vec<Ident> {
    input
        .generics
        .type_params()
        .map(|parameter| parameter.ident.clone())
        .collect()
}

/// Events outlive the place where they were made.
fn check_lifetimes(input: &DeriveInput) -> Result<()> {
    match input.generics.lifetimes().next() {
        None => Ok(()),
        Some(lifetime) => Err(Error::new_spanned(
            lifetime,
            "an event owns its data: it is encoded, kept and decoded elsewhere; use `String` in place of `&str`, \
             `Vec<T>` in place of `&[T]`",
        )),
    }
}

/// `#[event(…)]` on a field would do nothing, and whoever wrote it expects something.
fn check_field(field: &Field) -> Result<()> {
    let misplaced: Option<&Attribute> = field
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("event"));
    match misplaced {
        None => Ok(()),
        Some(attribute) => Err(Error::new_spanned(
            attribute,
            "fields have no `#[event(…)]`; a key is named on the type: `#[event(key = \"order_id\")]`",
        )),
    }
}
