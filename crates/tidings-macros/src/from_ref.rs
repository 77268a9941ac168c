//! `#[derive(FromRef)]`.

use crate::attributes::{Errors, Keys, crate_value, default_crate, readable};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use std::collections::HashMap;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Index, Member, Path, Result, Type};

/// An implementation per field, and the errors.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let tidings = errors.keep(read_crate(input)).unwrap_or_else(default_crate);
    let parts = errors.keep(parts(input)).unwrap_or_default();
    let implementations = parts
        .iter()
        .map(|(member, field)| implementation(&tidings, input, member, &field.ty));
    let implementations: TokenStream = implementations.collect();
    let errors = errors.into_result().err().map(|error| error.to_compile_error());
    quote!(#errors #implementations)
}

fn read_crate(input: &DeriveInput) -> Result<Path> {
    let mut tidings = default_crate();
    Keys::new("from_ref", &["crate"]).read(&input.attrs, |key, value| {
        tidings = crate_value(key, value)?;
        Ok(())
    })?;
    Ok(tidings)
}

/// The fields that are handed out.
fn parts(input: &DeriveInput) -> Result<Vec<(Member, &Field)>> {
    let fields = fields(input)?;
    let mut errors = Errors::default();
    let mut parts = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        let member = match &field.ident {
            Some(name) => Member::Named(name.clone()),
            None => Member::Unnamed(Index::from(place)),
        };
        if errors.keep(is_skipped(field)) == Some(false) {
            parts.push((member, field));
        }
    }
    errors.keep(check_types(input, &parts));
    errors.into_result()?;
    Ok(parts)
}

fn fields(input: &DeriveInput) -> Result<&Fields> {
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(_) | Data::Union(_) => Err(Error::new_spanned(
            &input.ident,
            "only a struct has parts that are always there; implement `FromRef` by hand, or make the state a struct",
        )),
    }
}

fn is_skipped(field: &Field) -> Result<bool> {
    let mut skipped = false;
    Keys::new("from_ref", &["skip"]).read(&field.attrs, |_, _| {
        skipped = true;
        Ok(())
    })?;
    Ok(skipped)
}

/// Each type can be handed out once, and must be one that this crate may implement a trait for.
fn check_types(input: &DeriveInput, parts: &[(Member, &Field)]) -> Result<()> {
    let mut errors = Errors::default();
    let mut owners: HashMap<String, &Member> = HashMap::new();
    for (member, field) in parts {
        let ty = field.ty.to_token_stream().to_string();
        let parameter = input
            .generics
            .type_params()
            .find(|parameter| parameter.ident == ty);
        if let Some(parameter) = parameter {
            let said = format!(
                "`{}` may be any type, so it can't be a part; add `#[from_ref(skip)]`",
                parameter.ident
            );
            errors.push(Error::new_spanned(&field.ty, said));
            continue;
        }
        if let Some(owner) = owners.insert(ty, member) {
            errors.push(Error::new_spanned(&field.ty, same_type(owner, member, &field.ty)));
        }
    }
    errors.into_result()
}

fn same_type(one: &Member, other: &Member, ty: &Type) -> String {
    let name = |member: &Member| match member {
        Member::Named(name) => name.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    };
    format!(
        "the fields `{}` and `{}` are both `{}`, so that type can't say which one a handler gets; add \
         `#[from_ref(skip)]` to one, or give one a type of its own",
        name(one),
        name(other),
        readable(ty)
    )
}

/// Spanned at the field's type: a field that can't be cloned is shown as the cause.
fn implementation(tidings: &Path, input: &DeriveInput, member: &Member, ty: &Type) -> TokenStream {
    let ident = &input.ident;
    let (parameters, arguments, conditions) = input.generics.split_for_impl();
    let span = proc_macro2::Span::call_site().located_at(ty.span());
    let part = quote_spanned!(span=> <#ty as ::core::clone::Clone>::clone(&state.#member));
    quote! {
        #[automatically_derived]
        impl #parameters #tidings::FromRef<#ident #arguments> for #ty #conditions {
            fn from_ref(state: &#ident #arguments) -> Self {
                #part
            }
        }
    }
}
