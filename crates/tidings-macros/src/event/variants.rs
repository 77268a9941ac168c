//! Events that are enums: each variant may have a name and a key of its own, or wrap another event.

use super::attributes::{EventAttributes, VariantAttributes};
use super::key::KeyField;
use super::{Parts, check_field};
use crate::attributes::Errors;
use proc_macro2::TokenStream;
use quote::quote;
use std::collections::HashMap;
use syn::{DataEnum, DeriveInput, Error, Fields, Ident, Member, Path, Result, Type, Variant};

/// A variant after checking.
struct Checked<'a> {
    ident: &'a Ident,
    identity: Identity<'a>,
    key: Option<KeyField>,
}

/// Where a variant's name comes from.
enum Identity<'a> {
    /// It has the name of the whole.
    OfTheEnum,
    /// Its own.
    Own(String),
    /// That of the event in its only field.
    OfTheWrapped(Member, &'a Type),
}

pub(super) fn parts(attributes: &EventAttributes, input: &DeriveInput, data: &DataEnum) -> Result<Parts> {
    if data.variants.is_empty() {
        let said = "an enum without variants has no values, so it can't be an event";
        return Err(Error::new_spanned(&input.ident, said));
    }
    let mut errors = Errors::default();
    let read: Vec<(&Variant, VariantAttributes)> = data
        .variants
        .iter()
        .filter_map(|variant| Some((variant, errors.keep(VariantAttributes::read(&variant.attrs))?)))
        .collect();
    errors.keep(check_names(&read));
    let some_have_keys = read.iter().any(|(_, own)| own.key.is_some());
    let checked: Vec<Checked<'_>> = read
        .iter()
        .filter_map(|(variant, own)| errors.keep(check(attributes, variant, own, some_have_keys)))
        .collect();
    errors.into_result()?;
    Ok(generate(&attributes.tidings, &checked))
}

fn check<'a>(
    attributes: &EventAttributes,
    variant: &'a Variant,
    own: &VariantAttributes,
    some_have_keys: bool,
) -> Result<Checked<'a>> {
    variant.fields.iter().try_for_each(check_field)?;
    let ident = &variant.ident;
    if own.transparent.is_some() {
        let (member, ty) = only_field(variant)?;
        return Ok(Checked {
            ident,
            identity: Identity::OfTheWrapped(member, ty),
            key: None,
        });
    }
    let owner = format!("the variant `{ident}`");
    let key = match (&own.key, &attributes.key) {
        (Some(path), _) => {
            let found = path.find(&variant.fields);
            Some(found.ok_or_else(|| path.missing(&owner, &variant.fields, path.span()))?)
        }
        (None, Some(path)) => {
            let found = path.find(&variant.fields);
            Some(found.ok_or_else(|| path.missing(&owner, &variant.fields, ident.span()))?)
        }
        (None, None) if some_have_keys => {
            let said = format!(
                "{owner} has no key but other variants have one, so its order among them would be lost; give it \
                 `#[event(key = \"…\")]`"
            );
            return Err(Error::new_spanned(ident, said));
        }
        (None, None) => None,
    };
    let identity = match &own.name {
        Some((name, _)) => Identity::Own(name.clone()),
        None => Identity::OfTheEnum,
    };
    Ok(Checked { ident, identity, key })
}

/// Two variants of one name could not be told apart by it.
fn check_names(variants: &[(&Variant, VariantAttributes)]) -> Result<()> {
    let mut owners: HashMap<&str, &Ident> = HashMap::new();
    for (variant, own) in variants {
        let Some((name, span)) = &own.name else { continue };
        if let Some(owner) = owners.insert(name, &variant.ident) {
            let said = format!("{name:?} is already the name of the variant `{owner}`");
            return Err(Error::new(*span, said));
        }
    }
    Ok(())
}

fn only_field(variant: &Variant) -> Result<(Member, &Type)> {
    let mut fields = variant.fields.iter();
    match (&variant.fields, fields.next(), fields.next()) {
        (Fields::Unnamed(_), Some(field), None) => Ok((Member::from(0), &field.ty)),
        (Fields::Named(_), Some(field), None) => {
            let name = field.ident.clone();
            Ok((name.map_or(Member::from(0), Member::Named), &field.ty))
        }
        _ => Err(Error::new_spanned(
            &variant.ident,
            format!(
                "`{}` can't be transparent: a transparent variant has one field, the event that it wraps",
                variant.ident
            ),
        )),
    }
}

fn generate(tidings: &Path, variants: &[Checked<'_>]) -> Parts {
    let mut methods = TokenStream::new();
    if variants
        .iter()
        .any(|variant| !matches!(variant.identity, Identity::OfTheEnum))
    {
        methods.extend(name_methods(tidings, variants));
    }
    if variants.iter().any(Checked::may_have_key) {
        methods.extend(key_method(tidings, variants));
    }
    Parts {
        methods,
        keys: variants
            .iter()
            .filter_map(|variant| variant.key.as_ref()?.bound_type().cloned())
            .collect(),
        events: variants.iter().filter_map(Checked::wrapped).cloned().collect(),
    }
}

impl Checked<'_> {
    fn may_have_key(&self) -> bool {
        self.key.is_some() || self.wrapped().is_some()
    }

    fn wrapped(&self) -> Option<&Type> {
        match &self.identity {
            Identity::OfTheWrapped(_, ty) => Some(ty),
            Identity::OfTheEnum | Identity::Own(_) => None,
        }
    }

    fn name_arm(&self, tidings: &Path) -> TokenStream {
        let ident = self.ident;
        match &self.identity {
            Identity::OfTheEnum => quote!(Self::#ident { .. } => <Self as #tidings::Event>::NAME,),
            Identity::Own(name) => quote!(Self::#ident { .. } => #name,),
            Identity::OfTheWrapped(member, ty) => {
                quote!(Self::#ident { #member: event } => <#ty as #tidings::Event>::name(event),)
            }
        }
    }

    /// Whether a header's value is a name of this variant.
    fn name_test(&self, tidings: &Path) -> TokenStream {
        match &self.identity {
            Identity::OfTheEnum => quote!(name == <Self as #tidings::Event>::NAME),
            Identity::Own(own) => quote!(name == #own),
            Identity::OfTheWrapped(_, ty) => quote!(<#ty as #tidings::Event>::has_name(name)),
        }
    }

    fn key_arm(&self, tidings: &Path) -> TokenStream {
        let ident = self.ident;
        match (&self.identity, &self.key) {
            (Identity::OfTheWrapped(member, ty), _) => {
                quote!(Self::#ident { #member: event } => <#ty as #tidings::Event>::key(event),)
            }
            (_, Some(key)) => {
                let member = &key.member;
                let bytes = key.to_key(tidings, &quote!((*key)));
                quote!(Self::#ident { #member: key, .. } => ::core::option::Option::Some(#bytes),)
            }
            (_, None) => quote!(Self::#ident { .. } => ::core::option::Option::None,),
        }
    }
}

fn name_methods(tidings: &Path, variants: &[Checked<'_>]) -> TokenStream {
    let arms = variants.iter().map(|variant| variant.name_arm(tidings));
    let mut tests: Vec<TokenStream> = Vec::new();
    let mut of_the_enum = false;
    for variant in variants {
        // One test is enough for all variants that share the enum's name.
        if matches!(variant.identity, Identity::OfTheEnum) && std::mem::replace(&mut of_the_enum, true) {
            continue;
        }
        tests.push(variant.name_test(tidings));
    }
    quote! {
        fn name(&self) -> &'static str {
            match self { #(#arms)* }
        }

        fn has_name(name: &str) -> bool {
            #(#tests)||*
        }
    }
}

fn key_method(tidings: &Path, variants: &[Checked<'_>]) -> TokenStream {
    let arms = variants.iter().map(|variant| variant.key_arm(tidings));
    quote! {
        fn key(&self) -> ::core::option::Option<#tidings::__private::Bytes> {
            match self { #(#arms)* }
        }
    }
}
