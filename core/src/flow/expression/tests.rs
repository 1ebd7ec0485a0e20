use super::*;
use serde_json::json;

fn vars() -> Vars {
    let mut vars = Vars::default();
    vars.set("n", json!(7));
    vars.set("half", json!(0.5));
    vars.set("name", json!("Ada"));
    vars.set("list", json!([1, 2.0, "x"]));
    vars.set("a", json!({"b": {"c": 1}, "c": 2}));
    vars.set("a.b", json!({"c": 3}));
    vars.set("big", json!(u64::MAX));
    vars.set("my-step.item", json!(5));
    vars.set("hostile", json!("=1 + 1 ${n}"));
    vars.set("null", Value::Null);
    vars.set("many", json!(vec![1; 1000]));
    vars.set("too_many", json!(vec![1; 1001]));
    vars.set_runtime("call.digits", json!("12"));
    vars.set_runtime("call.from", json!("+1"));
    vars
}

fn value(text: &str) -> Value {
    let program = Program::compile(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    program.evaluate(&vars()).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn fault(text: &str) -> String {
    let program = Program::compile(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    match program.evaluate(&vars()) {
        Err(fault) => {
            assert_eq!(fault.class, crate::scene::ErrorClass::Invalid);
            fault.message
        }
        Ok(value) => panic!("{text}: {value}"),
    }
}

#[test]
fn values_are_typed_and_numbers_mix() {
    for (text, expected) in [
        ("1 + 2 * 3", json!(7)),
        ("7 / 2", json!(3)),
        ("-7 / 2", json!(-3)),
        ("7 / 2.0", json!(3.5)),
        ("n / 2 + half", json!(3.5)),
        ("7.5 % 2", json!(1.5)),
        ("-7 % 3", json!(-1)),
        ("1u + 1", json!(2)),
        ("1 == 1.0 && 1 < 1.5 && 2.0 >= 2", json!(true)),
        ("9007199254740993 == 9007199254740992.0", json!(false)),
        ("big > 9.2e18", json!(true)),
        ("'a' == 1", json!(false)),
        ("'a' + \"b\"", json!("ab")),
        ("'Z' < 'a' && 'é' > 'z' && false < true", json!(true)),
        ("[1, 2] + [n]", json!([1, 2, 7])),
        ("{'k': [n, null], 1: true}", json!({"k": [7, null], "1": true})),
        ("{'a': 1, 'b': 2} == {'b': 2.0, 'a': 1}", json!(true)),
        ("2 in list && 'x' in list && !(3 in list) && 'b' in a && !('z' in a)", json!(true)),
        ("n > 5 ? 'many' : 'few'", json!("many")),
        ("!(n == 7) || name.startsWith('A')", json!(true)),
        ("-n", json!(-7)),
        ("list[2] + string(n)", json!("x7")),
        ("a['c'] + a.c", json!(4)),
        ("null == null", json!(true)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn names_are_found_by_the_longest_and_by_path() {
    for (text, expected) in [
        ("a.b.c", json!(3)),
        ("a.c", json!(2)),
        ("${a.b.c} + ${my-step.item}", json!(8)),
        ("${gone:-none}", json!("none")),
        ("${null:-none} == 'none'", json!(true)),
        ("call.digits + voipbin.call.caller_id", json!("12+1")),
        ("hostile", json!("=1 + 1 ${n}")),
        ("${hostile} + ''", json!("=1 + 1 ${n}")),
        ("has(a.b.c) && !has(a.b.d) && !has(gone.x) && !has(n.x) && has(a.b)", json!(true)),
        ("has(${a.c}) && !has(${gone}) && has(list[0]) && !has(list[9])", json!(true)),
        ("[{'x': 1}, {'y': 2}].filter(i, has(i.x))", json!([{"x": 1}])),
        ("'$${n} costs'", json!("${n} costs")),
        // The item of a macro hides a variable of the same name.
        ("[1].map(n, n + 1)", json!([2])),
        ("[[1, 2], [3]].map(x, x.map(y, y * size(x)))", json!([[2, 4], [3]])),
        ("['n'].all(a, a == 'n')", json!(true)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    assert_eq!(fault("gone"), "there is no variable `gone`");
    assert_eq!(fault("gone.x.y"), "there is no variable `gone.x.y`");
    assert_eq!(fault("a.b.d"), "there is no `d` in `a.b`");
    assert_eq!(fault("${gone}"), "there is no variable `gone`");
}

#[test]
fn texts_and_lists_have_their_functions() {
    for (text, expected) in [
        ("'Hello'.contains('ell') && 'Hello'.endsWith('lo')", json!(true)),
        ("'Hällo'.matches('^h') || 'Hello 42'.matches('[0-9]+$')", json!(true)),
        ("matches('a', 'b')", json!(false)),
        ("size('é€') + size([1]) + {'a': 1}.size()", json!(4)),
        ("' aBÉ '.trim().lowerAscii() + 'é'.upperAscii()", json!("abÉé")),
        ("'a,b,,c'.split(',')", json!(["a", "b", "", "c"])),
        ("'a,b,c'.split(',', 2)", json!(["a", "b,c"])),
        ("'aé'.split('')", json!(["a", "é"])),
        ("'a,b'.split(',', 0)", json!([])),
        ("'aaa'.replace('a', 'b') + 'aaa'.replace('a', 'b', 1)", json!("bbbbaa")),
        ("['a', 'b'].join('-') + ['x'].join()", json!("a-bx")),
        (
            "'héllo'.substring(1, 3) + 'abc'.substring(2)",
            json!("héc").as_str().map(|_| json!("élc")).unwrap(),
        ),
        ("int('42') + int(3.9) + int(2)", json!(47)),
        ("double('0.5') + double(1)", json!(1.5)),
        ("string(1.5) + string(true) + string('x')", json!("1.5truex")),
        ("list.exists(x, x == 'x') && [1, 2].all(x, x > 0) && [1, 2].exists_one(x, x == 2)", json!(true)),
        ("[1, 2, 3].filter(x, x > 1).map(x, x > 2, x * 10)", json!([30])),
        ("a.map(k, k)", json!(["b", "c"])),
        ("many.map(x, x).size()", json!(1000)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn what_has_no_value_is_a_fault() {
    for text in [
        "1 / 0",
        "1 % 0",
        "1.0 / 0",
        "9223372036854775807 + 1",
        "-(-9223372036854775807 - 1)",
        "'a' + 1",
        "'a' < 1",
        "[1] < [2]",
        "!n",
        "n && true",
        "n ? 1 : 2",
        "list[3]",
        "list[-1]",
        "list['x']",
        "name.x",
        "1 in 2",
        "size(1)",
        "name.contains(1)",
        "name.matches('[' + '')",
        "[1, 'a'].join()",
        "name.substring(4)",
        "name.substring(2, 1)",
        "int('x')",
        "double(null)",
        "n.map(x, x)",
        "too_many.all(x, x > 0)",
        "[1].filter(x, 1)",
        "-'a'",
    ] {
        fault(text);
    }
    // One that decides stands beside one that fails.
    assert_eq!(value("gone || true"), json!(true));
    assert_eq!(value("gone && false"), json!(false));
    assert_eq!(value("[0, 1].exists(x, 1 / x == 1)"), json!(true));
    fault("gone || false");
}

#[test]
fn the_cost_of_an_expression_is_bounded() {
    assert_eq!(value("many.all(x, many.all(y, y == x))"), json!(true));
    let many = "many.all(x, many.all(y, y + 1 - 1 + 1 - 1 + 1 - 1 == x))";
    assert!(fault(many).contains("steps"), "{}", fault(many));
    let mut vars = vars();
    vars.set("text", json!("x".repeat(30_000)));
    vars.set("range", json!((0..100).collect::<Vec<_>>()));
    for text in [
        ["text"; 200].join("+"),
        "many.map(x, many.map(y, text))".to_owned(),
        "many.map(x, text.replace('x', text))".to_owned(),
        "many.map(x, text.split(''))".to_owned(),
        "many.map(x, many.map(y, text.matches('(x+x+)+z')))".to_owned(),
        "range.map(x, 'a'.matches('((a{9}){9}' + string(x) + ')'))".to_owned(),
    ] {
        let result = Program::compile(&text).unwrap().evaluate(&vars);
        assert!(result.is_err_and(|fault| fault.class == crate::scene::ErrorClass::Invalid), "{text:.40}");
    }
}

#[test]
fn what_is_no_expression_is_told_with_its_place() {
    for (text, column, part) in [
        ("", 1, "expected an expression"),
        ("1 +", 4, "the end"),
        ("a b", 3, "'b'"),
        ("(1", 3, "')'"),
        ("'abc", 1, "unterminated"),
        ("'é' + ", 7, "the end"),
        ("1 + nosuch(2)", 5, "no function `nosuch`"),
        ("name.startswith('a')", 0, "did you mean `startsWith`"),
        ("startsWith('a')", 0, "called on a value"),
        ("name.substring()", 0, "1 to 2 arguments"),
        ("name.matches('[')", 0, "no pattern"),
        ("loop.x", 1, "reserved"),
        ("secret.KEY", 1, "secrets"),
        ("1 + ${secret.KEY}", 0, "secrets"),
        ("'x ${n}'", 4, "outside"),
        ("${n", 1, "\"}\""),
        ("${}", 1, "name inside"),
        ("b'bytes'", 1, "bytes"),
        ("has(1)", 0, "path"),
        ("list.map(1, 2)", 0, "a name for the item"),
        ("[1].all(x, [1].all(y, [1].all(z, true)))", 0, "2 macros"),
    ] {
        let wrong = Program::compile(text).unwrap_err();
        assert!(wrong.message.contains(part), "{text}: {wrong}");
        if column > 0 {
            assert_eq!(wrong.column, column, "{text}: {wrong}");
        }
    }
    for text in [
        "(".repeat(2000),
        "[".repeat(2000) + &"]".repeat(2000),
        "!".repeat(4000) + "a",
        "-".repeat(4000) + "a",
        "1+".repeat(2000) + "1",
        "a?b:".repeat(1000) + "c",
        "a.".repeat(2000) + "a",
        format!("'{}'", "x".repeat(4095)),
        format!("[{}1].map(x, x)", "1,".repeat(1000)),
        "'".repeat(4000),
    ] {
        assert!(Program::compile(&text).is_err(), "{text:.20}");
    }
    // As many as the bounds allow are read, even on a small stack.
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let run = small.spawn(|| {
        for text in [
            "n+".repeat(200) + "n",
            "!".repeat(200) + "true",
            "a.".repeat(200) + "a",
            "true||".repeat(680) + "true",
            format!("{}n{}", "(".repeat(36), ")".repeat(36)),
            format!("{}n{}", "[".repeat(36), "]".repeat(36)),
        ] {
            let program = Program::compile(&text).unwrap();
            let _ = program.evaluate(&vars());
        }
    });
    run.unwrap().join().unwrap();
}
