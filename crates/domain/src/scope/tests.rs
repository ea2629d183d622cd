//! Scopes: their texts, and which includes which.

use super::*;

fn scope(text: &str) -> Scope {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn scopes(texts: &[&str]) -> Scopes {
    Scopes::new(texts.iter().map(|text| scope(text))).unwrap()
}

/// Every form of a scope over two projects, two models and three environments.
fn every_scope() -> Vec<Scope> {
    let words = ["predict", "read", "operate", "deploy", "secrets", "records", "audit", "admin"];
    let mut all: Vec<Scope> = words.iter().map(|word| scope(word)).collect();
    for project in ["fraud", "default"] {
        for model in ["churn", "price", "*"] {
            for environment in ["", "@staging", "@test", "@*"] {
                all.push(scope(&format!("predict:{project}/{model}{environment}")));
            }
        }
    }
    all
}

/// What may be asked under a scope, among all models that could be named.
fn asked(scope: &Scope) -> BTreeSet<String> {
    let Scope::Predict(askable) = scope else { return BTreeSet::from([scope.to_string()]) };
    let mut found = BTreeSet::new();
    for project in ["fraud", "default", "other"] {
        for model in ["churn", "price", "other"] {
            for environment in ["production", "staging", "test", "other"] {
                let key =
                    ModelKey { project: project.parse().unwrap(), model: model.parse().unwrap() };
                if askable.allows(&key, &environment.parse().unwrap()) {
                    found.insert(format!("{project}/{model}@{environment}"));
                }
            }
        }
    }
    found
}

#[test]
fn a_scope_is_its_text() {
    for scope in every_scope() {
        let text = scope.to_string();
        assert_eq!(text.parse::<Scope>().unwrap(), scope);
        assert_eq!(serde_json::to_value(&scope).unwrap(), text);
        assert_eq!(serde_json::from_value::<Scope>(text.into()).unwrap(), scope);
    }
    assert_eq!(scope("predict:fraud/churn@production").to_string(), "predict:fraud/churn");
}

#[test]
fn an_unknown_scope_is_refused_with_what_to_write() {
    let message = |text: &str| text.parse::<Scope>().unwrap_err().to_string();
    for text in ["", "Read", "write", "predict*", "reads", "*", "predict fraud/churn"] {
        assert!(message(text).contains("is not a scope: use predict"), "{}", message(text));
    }
    // A model alone would be of project default in a reference, and look like a project here.
    for text in ["predict:", "predict:churn", "predict:*"] {
        assert!(message(text).contains("write predict:PROJECT/MODEL"), "{}", message(text));
    }
    for text in [
        "predict:*/churn",
        "predict:fraud/",
        "predict:fraud/Churn",
        "predict:fraud/churn@v1",
        "predict:fraud/churn@",
        "predict:fraud/churn@a@b",
        "predict:fraud/a/b",
        &format!("predict:fraud/{}", "x".repeat(5_000)),
    ] {
        assert!(matches!(text.parse::<Scope>(), Err(ScopeError::Name(..))), "{text}");
        assert!(message(text).len() < 800);
    }
}

#[test]
fn without_an_environment_a_prediction_is_one_in_production() {
    assert_eq!(asked(&scope("predict:fraud/churn")).len(), 1);
    assert!(asked(&scope("predict:fraud/churn")).contains("fraud/churn@production"));
    assert_eq!(asked(&scope("predict:fraud/churn@*")).len(), 4);
    assert_eq!(asked(&scope("predict:fraud/*")).len(), 3);
    assert_eq!(asked(&scope("predict")).len(), 36);
}

#[test]
fn a_scope_includes_another_exactly_if_it_allows_all_of_it() {
    let all = every_scope();
    for wide in &all {
        for narrow in &all {
            assert_eq!(
                wide.includes(narrow),
                asked(narrow).is_subset(&asked(wide)),
                "{wide} and {narrow}"
            );
        }
    }
}

#[test]
fn scopes_are_a_set_without_what_is_included_anyway() {
    let some = scopes(&["predict:fraud/churn", "read", "predict:fraud/*", "read"]);
    assert_eq!(some.to_string(), "predict:fraud/*, read");
    assert_eq!(scopes(&["predict:a/b", "predict"]).to_string(), "predict");
    assert_eq!(Scopes::new([]), Err(ScopeError::Count(0)));
    let many =
        |count: usize| Scopes::new((0..count).map(|at| scope(&format!("predict:fraud/m{at}"))));
    assert_eq!(many(SCOPES_MAX).unwrap().iter().count(), SCOPES_MAX);
    assert_eq!(many(SCOPES_MAX + 1), Err(ScopeError::Count(SCOPES_MAX + 1)));
    let json = serde_json::to_value(&some).unwrap();
    assert_eq!(json, serde_json::json!(["predict:fraud/*", "read"]));
    assert_eq!(serde_json::from_value::<Scopes>(json).unwrap(), some);
    assert!(serde_json::from_str::<Scopes>("[]").is_err());
}

#[test]
fn no_scopes_allow_more_than_a_set_that_they_are_a_subset_of() {
    let all = every_scope();
    // What may be asked under each, as bits.
    let universe: Vec<String> =
        all.iter().flat_map(asked).collect::<BTreeSet<_>>().into_iter().collect();
    assert!(universe.len() <= 64);
    let bits = |scope: &Scope| {
        let asked = asked(scope);
        let is_in = |(at, name): (usize, &String)| u64::from(asked.contains(name)) << at;
        universe.iter().enumerate().map(is_in).sum::<u64>()
    };
    let single = |(scope, bits): &(Scope, u64)| (Scopes::new([scope.clone()]).unwrap(), *bits);
    let all: Vec<(Scope, u64)> = all.iter().map(|scope| (scope.clone(), bits(scope))).collect();
    let singles: Vec<(Scopes, u64)> = all.iter().map(single).collect();
    for (one, one_bits) in &all {
        for (two, two_bits) in &all {
            let pair = Scopes::new([one.clone(), two.clone()]).unwrap();
            let pair_bits = one_bits | two_bits;
            assert!(pair.is_subset_of(&pair) && pair.is_subset_of(&Scopes::all()));
            for (single, bits) in &singles {
                assert_eq!(single.is_subset_of(&pair), bits & !pair_bits == 0, "{single} {pair}");
                assert_eq!(pair.is_subset_of(single), pair_bits & !bits == 0, "{pair} {single}");
            }
        }
    }
}
