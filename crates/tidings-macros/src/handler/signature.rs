//! What the text of a function tells: whether it is async, how many arguments it has, where a batch stands.

use crate::attributes::{Errors, any_word, readable};
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemFn, PathArguments, Result, ReturnType, Safety,
    Signature, Type,
};

/// How many arguments `Handler` is implemented for.
const MOST_ARGUMENTS: usize = 8;
/// How many arguments `BatchHandler` is implemented for, with the batch.
const MOST_BATCH_ARGUMENTS: usize = 5;

/// What is taken by value already.
const EXTRACTORS: [&str; 17] = [
    "Ack",
    "Attempt",
    "Batch",
    "Delivery",
    "Diagnosis",
    "Header",
    "Headers",
    "Json",
    "Key",
    "Message",
    "Option",
    "Payload",
    "Position",
    "Publisher",
    "Raw",
    "State",
    "Text",
];

/// A function whose signature could be that of a handler.
pub(super) struct Handler<'a> {
    pub(super) name: &'a Ident,
    /// `#[cfg(…)]` below `#[handler]`: where the function is not compiled its assertions can't be either.
    pub(super) conditions: Vec<&'a Attribute>,
    /// The type of the items if it takes several messages at once.
    pub(super) item: Option<&'a Type>,
    /// The types of the arguments, without the batch.
    pub(super) arguments: Vec<&'a Type>,
    /// What it returns, where that can be written down.
    pub(super) output: Option<&'a Type>,
}

impl<'a> Handler<'a> {
    /// Reads the signature; all that is wrong with it is told at once.
    pub(super) fn read(function: &'a ItemFn) -> Result<Self> {
        let signature = &function.sig;
        let mut errors = Errors::default();
        errors.keep(check_async(signature));
        errors.keep(check_generics(signature));
        errors.keep(check_unsafe(signature));
        let all = errors.keep(argument_types(signature)).unwrap_or_default();
        let item = all.first().and_then(|first| batch_item(first));
        errors.keep(check_number(signature, &all, item.is_some()));
        let arguments: Vec<&Type> = all.into_iter().skip(usize::from(item.is_some())).collect();
        for argument in &arguments {
            errors.keep(check_place(argument, item.is_some()));
        }
        errors.keep(check_acks(&arguments));
        errors.into_result()?;
        Ok(Self {
            name: &signature.ident,
            conditions: conditions(&function.attrs),
            item,
            arguments,
            output: nameable_output(signature),
        })
    }
}

/// A function that is not async may still return a future that it writes down.
fn check_async(signature: &Signature) -> Result<()> {
    let returns_future = match &signature.output {
        ReturnType::Default => false,
        ReturnType::Type(_, ty) => any_word(ty, |word| word.ends_with("Future")),
    };
    if signature.asyncness.is_some() || returns_future {
        return Ok(());
    }
    let said = format!("`{0}` is not async; write `async fn {0}`", signature.ident);
    Err(Error::new(signature.fn_token.span, said))
}

fn check_generics(signature: &Signature) -> Result<()> {
    if signature.generics.params.is_empty() {
        return Ok(());
    }
    let said = format!(
        "`{}` is generic: whether it is a handler depends on what is filled in; give it types, or remove \
         `#[handler]` and name the types where it is subscribed",
        signature.ident
    );
    Err(Error::new_spanned(&signature.generics.params, said))
}

fn check_unsafe(signature: &Signature) -> Result<()> {
    match &signature.safety {
        Safety::Safe(_) | Safety::Default => Ok(()),
        Safety::Unsafe(unsafety) => Err(Error::new_spanned(
            unsafety,
            "a handler can't be `unsafe`: the engine calls it with whatever message comes",
        )),
    }
}

fn argument_types(signature: &Signature) -> Result<Vec<&Type>> {
    let mut errors = Errors::default();
    let mut types = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => errors.push(Error::new_spanned(
                receiver,
                "a handler has no `self`: take what it needs from the app's state, as `State<T>`",
            )),
            FnArg::Typed(argument) => types.push(&*argument.ty),
        }
    }
    errors.into_result()?;
    Ok(types)
}

fn check_number(signature: &Signature, types: &[&Type], takes_batch: bool) -> Result<()> {
    let (kind, most) = if takes_batch {
        ("batch handler", MOST_BATCH_ARGUMENTS)
    } else {
        ("handler", MOST_ARGUMENTS)
    };
    match types.get(most) {
        None => Ok(()),
        Some(first_too_many) => {
            let said = format!(
                "a {kind} takes at most {most} arguments, `{}` has {}; put parts of the state into one struct",
                signature.ident,
                types.len()
            );
            Err(Error::new_spanned(first_too_many, said))
        }
    }
}

/// What is wrong with an argument whatever its name means.
fn check_place(ty: &Type, takes_batch: bool) -> Result<()> {
    let said = match ty {
        Type::Reference(reference) => format!(
            "a handler owns its arguments, it can't borrow them; {}",
            owned(&reference.elem)
        ),
        Type::ImplTrait(_) => {
            "an argument of a handler has one type, it can't be `impl …`; name the type".to_owned()
        }
        _ if batch_item(ty).is_some() && takes_batch => "a handler takes one `Batch`".to_owned(),
        _ if batch_item(ty).is_some() => {
            "`Batch<T>` is a batch handler's first argument; move it there".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::new_spanned(ty, said))
}

/// What to take in place of a reference to that.
fn owned(ty: &Type) -> String {
    let name = last_segment(ty).map_or_else(String::new, |segment| segment.ident.to_string());
    match (ty, name.as_str()) {
        (_, "str" | "String") => "take the payload as `Text`".to_owned(),
        (Type::Slice(_), _) => "take the payload as `Raw`".to_owned(),
        (_, extractor) if EXTRACTORS.contains(&extractor) => format!("take `{}`", readable(ty)),
        _ => format!(
            "take the payload as `Json<{0}>`, state as `State<{0}>`",
            readable(ty)
        ),
    }
}

/// A delivery is acknowledged by one `Ack`; the second would fail at the first message.
fn check_acks(arguments: &[&Type]) -> Result<()> {
    let mut acks = arguments
        .iter()
        .filter(|ty| last_segment(ty).is_some_and(|segment| segment.ident == "Ack"));
    match acks.nth(1) {
        None => Ok(()),
        Some(second) => Err(Error::new_spanned(second, "a handler can take `Ack` only once")),
    }
}

fn conditions(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect()
}

/// The type that an `async fn` returns. `impl …` can't be written elsewhere, and `!` not yet.
fn nameable_output(signature: &Signature) -> Option<&Type> {
    match &signature.output {
        ReturnType::Type(_, ty) if signature.asyncness.is_some() => {
            let hidden = matches!(**ty, Type::Never(_)) || any_word(ty, |word| word == "impl");
            (!hidden).then_some(ty)
        }
        ReturnType::Type(..) | ReturnType::Default => None,
    }
}

/// `T` of `Batch<T>`.
fn batch_item(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty)?;
    match &segment.arguments {
        PathArguments::AngleBracketed(list) if segment.ident == "Batch" => {
            list.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(item) => Some(item),
                _ => None,
            })
        }
        _ => None,
    }
}

pub(super) fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Paren(inner) => last_segment(&inner.elem),
        Type::Group(inner) => last_segment(&inner.elem),
        _ => None,
    }
}
