//! Events that are structs: one name, one key.

use super::attributes::EventAttributes;
use super::{Parts, check_field};
use crate::attributes::Errors;
use quote::quote;
use syn::{DeriveInput, Fields, Result};

pub(super) fn parts(attributes: &EventAttributes, input: &DeriveInput, fields: &Fields) -> Result<Parts> {
    let mut errors = Errors::default();
    for field in fields {
        errors.keep(check_field(field));
    }
    let Some(path) = &attributes.key else {
        return errors.into_result().map(|()| Parts::default());
    };
    let owner = format!("`{}`", input.ident);
    let found = path.find(fields);
    let found = errors.keep(found.ok_or_else(|| path.missing(&owner, fields, path.span())));
    errors.into_result()?;
    Ok(found.map_or_else(Parts::default, |key| {
        let tidings = &attributes.tidings;
        let member = &key.member;
        let bytes = key.to_key(tidings, &quote!(self.#member));
        Parts {
            methods: quote! {
                fn key(&self) -> ::core::option::Option<#tidings::__private::Bytes> {
                    ::core::option::Option::Some(#bytes)
                }
            },
            keys: key.bound_type().cloned().into_iter().collect(),
            events: Vec::new(),
        }
    }))
}
