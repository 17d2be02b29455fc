//! Tests: whatever an expression does, it ends, and it takes a limited amount of memory.

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, unwrap_valr};
use jaq_json::Val;
use proptest::collection::vec;
use proptest::prelude::*;

use super::expression::Expr;
use super::printing::{Printed, StringForm, printed};
use super::testing;

/// The error of an expression on `{}`.
fn error(source: &str) -> String {
    let expr = Expr::compile(source).unwrap();
    let result = expr.results(b"{}", StringForm::Raw).last();
    match result {
        Some(Err(error)) => error.to_string(),
        other => panic!("{source}: {other:?}"),
    }
}

/// Whether an error says that a limit is exceeded.
fn names_a_limit(error: &str) -> bool {
    const REASONS: [&str; 13] = [
        "builds more than 256 MiB on one record",
        "a value of more than 64 MiB",
        "ran for more than 1 s",
        "a text of more than",
        "an integer of more than",
        "a number of more than",
        "nested more than 256 levels",
        "compares values that are too large",
        "recurses too deeply",
        "a regular expression of more than",
        "an array or object of more than 8 KiB as a key",
        "a path of more than 1000 parts",
        // The interpreter's parser takes more.
        "a text that is not JSON",
    ];
    REASONS.iter().any(|reason| error.contains(reason))
}

fn results_on(json: &str, source: &str) -> Vec<String> {
    let expr = Expr::compile(source).unwrap();
    let results = expr.results(json.as_bytes(), StringForm::Quoted);
    results
        .map(|result| match result {
            Ok(Printed::Text(text) | Printed::Json(text)) => text,
            Err(error) => panic!("{source}: {error}"),
        })
        .collect()
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let expr = Expr::compile(".").unwrap();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(expr.is_true(deep.as_bytes()).is_err());
    let wide = format!("[{}[]]", "[],".repeat(1000));
    assert_eq!(expr.is_true(wide.as_bytes()), Ok(true));
    let brackets_in_text = format!("[\"{}\\\"[\"]", "[".repeat(1000));
    assert_eq!(expr.is_true(brackets_in_text.as_bytes()), Ok(true));
}

#[test]
fn deep_json_in_a_text_is_an_error_and_no_crash() {
    let text = "[".repeat(100_000) + &"]".repeat(100_000);
    let record = format!("{{\"text\":\"{text}\"}}");
    let results = |source: &str| {
        let expr = Expr::compile(source).unwrap();
        expr.is_true(record.as_bytes())
    };
    let error = results(".text | fromjson").unwrap_err().to_string();
    assert!(
        error.contains("nested more than 128 levels deep"),
        "{error}"
    );
    assert_eq!(results("(.text | fromjson)? // true"), Ok(true));
    assert_eq!(results(r#"("[[1]]" | fromjson) == [[1]]"#), Ok(true));
    assert_eq!(results(r#"[1 | tojson | fromjson] == [1]"#), Ok(true));
}

#[test]
fn a_number_of_many_digits_is_an_error() {
    let digits = "1".repeat(1_000_000);
    let record = format!(r#"{{"n":{digits},"text":"{digits}","other":1}}"#);
    let is_true = |source: &str| Expr::compile(source).unwrap().is_true(record.as_bytes());
    for source in [".n + 1 == 2", "(.text | tonumber) == 1", "to_entries"] {
        let error = is_true(source).unwrap_err().to_string();
        assert!(
            error.contains("a number of more than 20000 digits"),
            "{error}"
        );
    }
    assert_eq!(is_true(".other + 1 == 2"), Ok(true));
    assert_eq!(is_true("(.text | length) == 1000000"), Ok(true));
}

#[test]
fn an_expression_without_end_is_stopped() {
    for source in [
        "def f: f; f",
        "last(repeat(1))",
        "last(repeat(.))",
        "[repeat(1)]",
        "last(range(infinite))",
        "reduce range(0; infinite) as $n (0; . + 1)",
        "until(false; .)",
        "last(while(true; .))",
        "def f: try error catch f; f",
        "def f: (f)?, f; f",
        "[recurse] | last(recurse(.))",
    ] {
        let expr = Expr::compile(source).unwrap();
        let error = expr.is_true(b"{}").unwrap_err().to_string();
        assert!(
            error.contains("ran for more than 1 s on one record")
                || error.contains("recurses too deep"),
            "{source}: {error}"
        );
        assert_eq!(expr.is_true(b"{}").unwrap_err().to_string(), error);
    }
    // What was made before the limit is not lost.
    let expr = Expr::compile("repeat(.)").unwrap();
    let mut results = expr.results(b"1", StringForm::Raw);
    assert_eq!(results.next(), Some(Ok(Printed::Json("1".into()))));
    assert!(results.last().unwrap().is_err());
}

#[test]
fn a_recursion_without_end_does_not_overflow_the_stack() {
    let chain = ".a|".repeat(4000) + ".";
    let sums = "1+".repeat(8000) + "1";
    for source in [
        "def f: 1+f; f",
        "def f: [f]; f",
        "def f(g): f(g+1) + 1; f(.)",
        &chain,
        &sums,
    ] {
        let expr = Expr::compile(source).unwrap();
        let error = expr.is_true(b"null").unwrap_err().to_string();
        assert!(error.contains("recurses too deeply on a record"), "{error}");
    }
}

#[test]
fn recursion_within_the_limits_works() {
    let result = |source: &str, json: &str| results_on(json, source).join(",");
    assert_eq!(
        result("def f: if . < 5000 then . + 1 | f else . end; f", "0"),
        "5000"
    );
    assert_eq!(
        result("def f: if . < 20 then 1 + (. + 1 | f) else 0 end; f", "0"),
        "20"
    );
    assert_eq!(
        result("[range(3)], [range(1; 3)], [range(0; 6; 2)]", "0"),
        "[0,1,2],[1,2],[0,2,4]"
    );
    assert_eq!(
        result("def a: .x; a = 1 | (def b: .y; b |= 2) | [paths]", "{}"),
        r#"[["x"],["y"]]"#
    );
    assert_eq!(
        result(
            "walk(if type == \"number\" then . + 1 else . end)",
            "[1,[2]]"
        ),
        "[2,[3]]"
    );
    assert_eq!(result("[limit(3; repeat(1))]", "0"), "[1,1,1]");
    assert_eq!(result(&("1+".repeat(100) + "1"), "0"), "101");
    assert_eq!(result("[.[] | {a: .}] | map(.a) | add", "[1,2]"), "3");
}

#[test]
fn a_source_beyond_the_limits_is_refused() {
    for source in [
        "[".repeat(20_000),
        "[".repeat(201),
        "(".repeat(300) + &")".repeat(300),
    ] {
        let error = Expr::compile(&source).unwrap_err().message;
        assert!(error.contains("levels of brackets"), "{error}");
    }
    for source in [
        "-".repeat(16_000),
        "try ".repeat(4000),
        "if ".repeat(5000),
        ".|".repeat(8000),
        "def f: ".repeat(2000),
        "label $x | ".repeat(1400),
    ] {
        assert!(Expr::compile(&source).is_err(), "{}", &source[..10]);
    }
}

#[test]
fn a_value_that_is_too_deep_is_an_error_and_no_crash() {
    for source in [
        "reduce range(1000000) as $i (0; [.])",
        "reduce range(1000000) as $i (0; {a: .})",
        "reduce range(1000000) as $i (0; {(.): 0})",
        "reduce range(1000000) as $i (0; [[.]] + [])",
        "reduce range(1000000) as $i ([1]; group_by(0))",
        "reduce range(1000000) as $i ({a: 1}; to_entries)",
        "reduce range(1000000) as $i ({}; . as $x | {} | .a = $x)",
        "reduce range(1000000) as $i ({}; . as $x | {} | .a |= $x)",
        "reduce range(1000000) as $i ({}; . as $x | {} | .a += $x)",
        "reduce range(1000000) as $i ({}; . as $x | {} | .a //= $x)",
        "reduce range(1000000) as $i ({}; . as $x | {} | setpath([\"a\"]; $x))",
        "reduce range(1000000) as $i (0; . as $x | {} | path(.[$x]))",
        "reduce range(1000000) as $i ({a: 1}; (.. | select(. == 1)) |= {a: .})",
        "reduce range(1000000) as $i ([]; . as $x | [] | .[0:0] = [$x])",
        "last(foreach range(1000000) as $i (0; [.]; .))",
        "last(limit(1000000; recurse([.])))",
        "last(0 | while(true; [.]))",
        "0 | until(false; [.])",
        "def f: [.] | f; f",
        "def f($x): f([$x]); f(0)",
        "[range(1000000)] | walk([.]) | reduce range(1000000) as $i (.; [.])",
        "[1] | reduce range(1000000) as $i (.; [combinations(1)])",
        "[[1]] | reduce range(1000000) as $i (.; [transpose])",
        "{a: 1} | reduce range(1000000) as $i (.; with_entries(.value |= [.]))",
        "{a: 1} | reduce range(1000000) as $i (.; map_values([.]))",
        "{a: 1} | reduce range(1000000) as $i (.; . * {a: [.a]})",
        "error(reduce range(1000000) as $i (0; [.]))",
    ] {
        let error = error(source);
        assert!(
            error.contains("nested more than 256 levels deep")
                || error.contains("recurses too deeply")
                || error.contains("ran for more than 1 s"),
            "{source}: {error}"
        );
    }
    let deep = "reduce range(250) as $i (0; [.]) | [recurse(.[]?)] | length";
    assert_eq!(results_on("0", deep), ["251"]);
}
#[test]
fn what_the_interpreter_does_not_survive_is_an_error() {
    for (json, source) in [
        (r#""ba""#, r#"match("(?:(a)|(b))*")"#),
        (r#""ba""#, r#"test("^(?:(a)|(b))+$")"#),
        (
            "0",
            "[range(40) | (.*7919+31+(.*.*13))%997 as $k | 9007199254740992+$k%9 | if $k%2==0 then .+0.0 else . end] | sort",
        ),
    ] {
        let expr = Expr::compile(source).unwrap();
        let error = expr.is_true(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("because of a defect"), "{source}: {error}");
        // It may succeed on the next record.
        let _ = expr.is_true(b"null");
        assert_eq!(
            expr.is_true(json.as_bytes()).unwrap_err().to_string(),
            error
        );
    }
}

#[test]
fn a_recursion_over_a_large_record_works() {
    let users = vec![r#"{"id":"ann","tags":[1,2,3]}"#; 1000].join(",");
    let source = "def visit(f): if type == \"array\" or type == \"object\" then map_values(visit(f)) else f end;
        visit(tostring) | length";
    assert_eq!(results_on(&format!("[{users}]"), source), ["1000"]);
}

#[test]
fn a_chain_that_is_too_long_is_an_error_and_no_crash() {
    let parts = format!("null | {}", ".a".repeat(8000));
    let slices = format!("[] | .{}", "[1:2]".repeat(2700));
    for source in [
        "def f(g): f(g+1); f(.)",
        "def f(g): f(g|g); f(.)",
        "def f(g): def h: f(g+1); h; f(.)",
        "null | path(limit(1; skip(300000; recurse(.a)))) | length",
        "def f(g): if . > 60 then g else .+1 | f(g|g) end; 0 | f(.)",
        ". as {(def f: f; f): $x} | 1",
        ". as {(def f: [f]; f): $x} | 1",
        ". as [{(\"x\" * 2000000000 | \"a\"): $x}] | 1",
        "reduce . as {(def f: [f]; f): $x} (0; .)",
        r##"("#\"\n" + ("[" * 200000)) | fromjson"##,
        r##"("#\"\n" + ("1" * 10000000)) | fromjson"##,
        r#"("{" + ("NaN:1," * 200000) + "NaN:1}") | fromjson"#,
    ] {
        let error = error(source);
        assert!(names_a_limit(&error), "{source}: {error}");
    }
    for source in [parts.as_str(), &slices] {
        let expr = Expr::compile(source).unwrap();
        if let Some(Err(error)) = expr.results(b"{}", StringForm::Raw).last() {
            assert!(names_a_limit(&error.to_string()), "{error}");
        }
    }
}

#[test]
fn an_expression_that_builds_too_much_is_stopped() {
    for source in [
        r#""abc" * 10000000000"#,
        r#""abc" * 100000000000000000000"#,
        r#"[limit(1000000000; repeat("x" * 1000))]"#,
        r#"reduce range(60) as $i ("a"; . + .)"#,
        r#"reduce range(60) as $i ("a"; . += .)"#,
        r#"reduce range(60) as $i ({a: "a"}; .a += .a)"#,
        r#"reduce range(60) as $i ({a: "a"}; .a *= 2)"#,
        r#"reduce range(60) as $i ("a"; "\(.)\(.)")"#,
        r#"reduce range(60) as $i ("a"; @base64 "\(.)\(.)")"#,
        r#"reduce range(60) as $i ("a"; . * 2)"#,
        r#"reduce range(60) as $i ("a"; [., .] | join("x"))"#,
        r#"reduce range(60) as $i ("a"; [., .] | add)"#,
        r#"reduce range(60) as $i ("a"; .[0:0] = .)"#,
        r#"reduce range(60) as $i ("a"; sub("a"; "aa"; "g"))"#,
        r#"reduce range(60) as $i ("a"; @uri "\(.)%\(.)")"#,
        r#"reduce range(60) as $i ("a"; ascii_downcase + ascii_upcase)"#,
        "reduce range(60) as $i ([1]; . + .)",
        "reduce range(60) as $i ([1]; . += .)",
        "reduce range(60) as $i ([1]; .[0:0] = .)",
        "reduce range(60) as $i ([1]; [.[], .[]])",
        "reduce range(60) as $i ([1]; [., .] | flatten)",
        "reduce range(60) as $i (\"x\"; [., .])",
        "reduce range(60) as $i (\"x\"; [., .]) | tojson",
        "reduce range(60) as $i (1; {a: ., b: .}) | tostring",
        "reduce range(60) as $i ({}; . as $x | .a = $x | .b = $x)",
        "reduce range(60) as $i ({}; . as $x | .a |= $x | .b |= $x)",
        "reduce range(60) as $i ({}; . as $x | .a |= $x + null | .b |= null + $x)",
        "reduce range(60) as $i ({}; . as $x | .a = null | .a //= $x | .b = null | .b += $x)",
        "reduce range(60) as $i ([0]; . as $x | . + [$x])",
        "reduce range(60) as $i ([0]; . as $x | [$x] + .)",
        "reduce range(60) as $i ({}; . as $x | . + {a: $x, b: $x})",
        "reduce range(60) as $i ({}; . as $x | . * {\"\\($i)\": $x})",
        "reduce range(20) as $i ([range(1000)]; .[] = .)",
        "[range(60) | [0, 1]] | [combinations]",
        r#"("x" * 9000000) as $s | [range(""; []; $s)]"#,
        r#"("x" * 60000000) as $x | [range(1000) | try ($x - 1) catch .]"#,
        "[range(900000)] as $x | [range(1000) | $x[1:]]",
        "[range(900000)] as $x | [range(1000) | $x - [1]]",
        "[range(900000)] as $x | [range(1000) | $x | . -= [1]]",
        "(reduce range(14) as $i (3; . * .)) as $b | [range(10000000) | -$b]",
        "(reduce range(14) as $i (3; . * .)) as $b | [range(10000000) | $b + .]",
        r#"("x" * 60000000) as $s | range(1000000) | $s"#,
        "[range(300000) | 0] as $x | ([range(150000) | 0] + [1]) as $y | $x[$y]",
        "[range(300000) | 0] as $y | {($y): 1}",
        r#""a" | test("a" * 20000000)"#,
        r#"("x" * 100000000) | explode"#,
        r#"("x" * 100000000) / """#,
        r#"("x" * 100000000) | split("")"#,
        r#"("x" * 100000000) as $x | [range(1000) | $x + "y"]"#,
        r#"("x" * 1000000) as $x | [range(1000) | $x | ascii_downcase]"#,
        r#"("x" * 100000000) as $x | [range(1000) | $x | .[0:0] = "y"]"#,
        r#"("x" * 10000000) as $x | [range(1000) | [$x, $x] | tojson]"#,
        r#"("[" + "1," * 10000000 + "1]") | fromjson"#,
        r#"("x" * 2000000) | test("x")"#,
        r#"("x" * 100000) | [scan("x")]"#,
        r#"("1" * 1000000) | tonumber"#,
        "reduce range(40) as $i (3; . * .)",
        "reduce range(40) as $i (3; . *= .)",
        "reduce range(infinite) as $i (1; . * 1000)",
        "([range(100000)] | contains([range(100000) | . + 0.5]))",
        "[range(1000)] as $x | [range(100000) | $x] | sort",
        "[range(1000)] as $x | [range(100000) | $x] | unique_by(.)",
        "[range(1000)] as $x | [$x[] | $x[] | $x[] | $x[] | empty]",
        "[range(1000)] as $x | [$x | .. | $x | .. | $x | .. | $x | .. | empty]",
        "[limit(1000; repeat(0))] | .[] |= (range(1000000) | empty)",
    ] {
        let error = error(source);
        assert!(names_a_limit(&error), "{source}: {error}");
    }
}

/// The results of the interpreter without any limit.
fn unlimited(source: &str, json: &str) -> Vec<Result<Printed, ()>> {
    let arena = Arena::default();
    let library = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let program = File {
        code: source,
        path: (),
    };
    let modules = Loader::new(library).load(&arena, program).unwrap();
    let filter = Compiler::default()
        .with_funs(
            jaq_core::funs::<JustLut<Val>>()
                .chain(jaq_std::funs())
                .chain(jaq_json::funs()),
        )
        .compile(modules)
        .unwrap();
    let context = Ctx::<JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let input = jaq_json::read::parse_single(json.as_bytes()).unwrap();
    let results = filter.id.run((context, input)).take(50);
    results
        .map(|result| match unwrap_valr(result) {
            Ok(value) => Ok(printed(value, StringForm::Quoted)),
            Err(_) => Err(()),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    /// The checks change no result of an expression within the limits.
    #[test]
    fn checks_change_no_result(
        source in testing::expression(),
        records in vec(prop_oneof![1 => testing::event(), 2 => testing::json()], 8),
    ) {
        let expr = Expr::compile(&source).unwrap();
        for json in &records {
            let mut results = expr.results(json.as_bytes(), StringForm::Quoted);
            let mut unlimited = unlimited(&source, json).into_iter();
            for _ in 0..50 {
                let (result, expected) = (results.next(), unlimited.next());
                let is_error = matches!(result, Some(Err(_)));
                if matches!(&result, Some(Err(error)) if names_a_limit(&error.to_string())) {
                    break;
                }
                prop_assert_eq!(result.map(|result| result.map_err(drop)), expected, "{}: {}", source, json);
                if is_error {
                    break;
                }
            }
        }
    }
}
