//! Code that compiles only if the types of a function make it a handler. It is never run.

use super::Options;
use super::result::Returned;
use super::signature::Handler;
use crate::attributes::any_word;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Path, Type};

/// The assertions; each has the span of what it is about.
pub(super) fn generate(options: &Options, handler: &Handler<'_>) -> TokenStream {
    let conditions = &handler.conditions;
    let types = type_assertions(options, handler);
    let future = future_assertion(handler);
    quote! {
        #(#conditions)*
        const _: () = {
            #types
            #future
        };
    }
}

fn type_assertions(options: &Options, handler: &Handler<'_>) -> TokenStream {
    let tidings = &options.tidings;
    let state = match &options.state {
        Some(state) => quote!(#state),
        None => quote!(()),
    };
    let (wanted, output_wanted) = match handler.item {
        Some(_) => (quote!(FromContext), quote!(IntoBatchOutcome)),
        None => (quote!(FromDelivery), quote!(IntoOutcome)),
    };
    let item = handler.item.map(|item| assertion("__is_batch_item", item));
    let arguments = handler
        .arguments
        .iter()
        .filter(|ty| options.state.is_some() || !is_state(ty))
        .map(|ty| assertion("__is_argument", ty));
    let returned = handler.output.map(Returned::of).unwrap_or_default();
    let outcome = returned.outcome.map(|ty| assertion("__is_outcome", ty));
    let error_is_failure = returned.error.map(|_| failure_definition(tidings));
    let error = returned.error.map(|ty| assertion("__is_failure", ty));
    quote! {
        fn __is_batch_item<T: #tidings::BatchItem + ::core::marker::Send + 'static>() {}
        fn __is_argument<T: #tidings::#wanted<#state> + 'static>() {}
        fn __is_outcome<T: #tidings::#output_wanted>() {}
        fn __check_types() {
            #item
            #(#arguments)*
            #outcome
            #error
        }
        #error_is_failure
    }
}

/// A trait for one type, because a trait that is missing has a message of its own and a wrong type has none.
fn failure_definition(tidings: &Path) -> TokenStream {
    quote! {
        #[diagnostic::on_unimplemented(
            message = "a handler's error is `Failure`, not `{Self}`",
            label = "put `Failure` here",
            note = "`?` makes a transient `Failure` of any error; `.permanent()?` makes one that is not tried again"
        )]
        trait __Failure {}
        impl __Failure for #tidings::Failure {}
        fn __is_failure<T: __Failure>() {}
    }
}

fn assertion(check: &str, ty: &Type) -> TokenStream {
    let span = Span::call_site().located_at(ty.span());
    let check = proc_macro2::Ident::new(check, span);
    quote_spanned!(span=> #check::<#ty>();)
}

/// Which parts a state has is known only where the state is.
fn is_state(ty: &Type) -> bool {
    any_word(ty, |word| word == "State")
}

/// Calls the function, so that the compiler shows which value keeps its future on one thread.
///
/// The arguments' types are left to inference: written down, `Json<Cow<'_, str>>` would have the lifetime of this
/// call, and a handler's future outlives any call.
fn future_assertion(handler: &Handler<'_>) -> TokenStream {
    let name = handler.name;
    let number = handler.arguments.len() + usize::from(handler.item.is_some());
    let span = Span::call_site().located_at(name.span());
    let values = std::iter::repeat_n(quote!(__value()), number);
    let call = quote_spanned!(span=> __is_future_of_handler(#name(#(#values),*)););
    quote! {
        fn __value<T>() -> T {
            ::core::unreachable!()
        }
        fn __is_future_of_handler<F>(_: F)
        where
            F: ::core::future::Future + ::core::marker::Send + 'static,
        {
        }
        fn __check_future() {
            #call
        }
    }
}
