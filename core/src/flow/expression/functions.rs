//! The functions of expressions, by name and number of arguments.

/// A receiver counts as the first argument: `size(x)` is `x.size()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Size,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Replace,
    Join,
    Substring,
    Text,
    Whole,
    Double,
}

struct Declared {
    name: &'static str,
    function: Function,
    least: usize,
    most: usize,
    /// May be called without a receiver.
    global: bool,
}

const fn method(name: &'static str, function: Function, least: usize, most: usize) -> Declared {
    Declared { name, function, least, most, global: false }
}

const fn global(name: &'static str, function: Function, most: usize) -> Declared {
    Declared { name, function, least: most, most, global: true }
}

const TABLE: &[Declared] = &[
    method("contains", Function::Contains, 2, 2),
    method("startsWith", Function::StartsWith, 2, 2),
    method("endsWith", Function::EndsWith, 2, 2),
    global("matches", Function::Matches, 2),
    global("size", Function::Size, 1),
    method("lowerAscii", Function::LowerAscii, 1, 1),
    method("upperAscii", Function::UpperAscii, 1, 1),
    method("trim", Function::Trim, 1, 1),
    method("split", Function::Split, 2, 3),
    method("replace", Function::Replace, 3, 4),
    method("join", Function::Join, 1, 2),
    method("substring", Function::Substring, 2, 3),
    global("string", Function::Text, 1),
    global("int", Function::Whole, 1),
    global("double", Function::Double, 1),
];

pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|declared| declared.name)
}

/// `count` counts the receiver. Err: what was expected.
pub fn find(name: &str, has_receiver: bool, count: usize) -> Result<Function, String> {
    let Some(declared) = TABLE.iter().find(|declared| declared.name == name) else {
        return Err(format!("there is no function `{name}`"));
    };
    if !has_receiver && !declared.global {
        return Err(format!("`{name}` is called on a value: `x.{name}(…)`"));
    }
    if count < declared.least || count > declared.most {
        let receiver = usize::from(has_receiver);
        let (least, most) = (declared.least.saturating_sub(receiver), declared.most.saturating_sub(receiver));
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        return Err(format!("`{name}` takes {expected} arguments, got {}", count.saturating_sub(receiver)));
    }
    Ok(declared.function)
}
