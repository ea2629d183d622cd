//! Reads a query and refuses what is no question: only one statement that reads, of a size and a
//! depth that planning it cannot end this process.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, ExprWithAlias, Ident, Statement, visit_relations};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use domain::Problem;
use records::columns::{INPUT, OUTPUT};

use crate::problem::{bad, over};

/// Words, numbers and signs of a query.
const TOKENS_MAX: usize = 8_000;
/// Operators of a query. Each may be a level of the tree that it is read into, and whoever walks
/// that tree needs stack for each level.
const OPERATORS_MAX: usize = 500;
/// Parentheses in each other. The parser tries some of them twice, at each level.
const DEPTH_MAX: usize = 24;
/// Levels that the parser goes down; a parenthesis takes several.
const RECURSION_MAX: usize = 128;
/// Tables of a query, each counted as often as it is named.
const TABLES_MAX: usize = 12;

/// A query that may be planned.
#[derive(Debug)]
pub struct Checked(pub Statement);

impl Checked {
    /// For DataFusion.
    pub fn parsed(self) -> Parsed {
        Parsed::Statement(Box::new(self.0))
    }
}

/// Reads a statement.
pub fn statement(sql: &str, bytes_max: usize) -> Result<Checked, Problem> {
    let mut statements =
        parser(sql, bytes_max)?.parse_statements().map_err(|error| of_parser(&error))?;
    let statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => statement,
        (None, _) => return Err(bad("the query is empty")),
        (Some(_), false) => {
            return Err(bad("there is more than one statement").help("send one at a time"));
        }
    };
    let question = match &statement {
        Statement::Explain { statement, .. } => statement,
        statement => statement,
    };
    if !matches!(question, Statement::Query(_) | Statement::ExplainTable { .. }) {
        let text = "records are only read: a query is a `select`, `explain select` or `describe`";
        return Err(bad(text).help("remove records by `--records-days` and `--records-mb`"));
    }
    let mut tables = 0usize;
    let _ = visit_relations(&statement, |_| {
        tables += 1;
        ControlFlow::<()>::Continue(())
    });
    if tables > TABLES_MAX {
        return Err(over(format!("the query names {tables} tables, and {TABLES_MAX} are allowed")));
    }
    Ok(Checked(statement))
}

/// Reads an expression, as it stands after `where`.
pub fn expression(text: &str, bytes_max: usize) -> Result<ExprWithAlias, Problem> {
    let mut parser = parser(text, bytes_max)?;
    let expr: Expr = parser.parse_expr().map_err(|error| of_parser(&error))?;
    match parser.peek_token().token {
        Token::EOF => Ok(ExprWithAlias { expr, alias: None }),
        more => Err(bad(format!("the condition ends before `{more}`"))
            .help("write it as after `where`: status != 200 and city = 'Delft'")),
    }
}

fn of_parser(error: &ParserError) -> Problem {
    match error {
        ParserError::RecursionLimitExceeded => too_deep(),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => bad(text),
    }
}

fn too_deep() -> Problem {
    over(format!("the query is nested more than {DEPTH_MAX} deep")).help("write it flatter")
}

fn parser(sql: &str, bytes_max: usize) -> Result<Parser<'static>, Problem> {
    if sql.len() > bytes_max {
        let text = format!("the query has {} bytes, and {bytes_max} are allowed", sql.len());
        return Err(over(text).help("write it shorter"));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| bad(error.to_string()))?;
    let tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    measure(&tokens)?;
    Ok(Parser::new(&GenericDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .with_tokens_with_locations(joined(tokens)))
}

fn measure(tokens: &[TokenWithSpan]) -> Result<(), Problem> {
    let (mut depth, mut operators) = (0usize, 0usize);
    for token in tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::LBracket | Token::LBrace => {
                depth += 1;
                operators += 1;
            }
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::CASE => {
                depth += 1;
                operators += 1;
            }
            Token::Word(word) if word.keyword == Keyword::END => depth = depth.saturating_sub(1),
            Token::StringConcat => {
                return Err(bad("`||` is not understood").help("write concat(a, b)"));
            }
            token => operators += usize::from(is_operator(token)),
        }
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
    }
    if tokens.len() > TOKENS_MAX {
        let text =
            format!("the query has {} words and signs, and {TOKENS_MAX} are allowed", tokens.len());
        return Err(over(text).help("write it shorter"));
    }
    if operators > OPERATORS_MAX {
        let text = format!("the query has {operators} operators, and {OPERATORS_MAX} are allowed");
        return Err(over(text).help("instead of many `or`, use `in (…)`"));
    }
    Ok(())
}

/// Whether a token can make the tree deeper. What separates the elements of lists does not.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::XOR
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::IS
                | Keyword::BETWEEN
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::MINUS
                | Keyword::JOIN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::OVER
                | Keyword::EXPLAIN
                | Keyword::INTERVAL
                | Keyword::ESCAPE
                | Keyword::SELECT
                | Keyword::FROM
        ),
        Token::EOF
        | Token::Number(..)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_) => false,
        _ => true,
    }
}

/// Makes one name of `in.city`, which SQL reads as the word `in` and something after it.
fn joined(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut made: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(mut token) = rest.next() {
        let prefix = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => {
                let prefixes = [INPUT, OUTPUT].into_iter();
                let mut prefixes = prefixes.filter(|prefix| {
                    prefix.trim_end_matches('.').eq_ignore_ascii_case(&word.value)
                });
                prefixes.next()
            }
            _ => None,
        };
        let has_dot = rest.peek().is_some_and(|next| next.token == Token::Period);
        let Some(prefix) = prefix.filter(|_| has_dot) else {
            made.push(token);
            continue;
        };
        let dot = rest.next();
        match rest.next_if(|next| matches!(next.token, Token::Word(_))) {
            Some(TokenWithSpan { token: Token::Word(word), .. }) => {
                let name = Ident::with_quote('"', format!("{prefix}{}", word.value));
                token.token = Token::make_word(&name.value, Some('"'));
                made.push(token);
            }
            _ => {
                made.push(token);
                made.extend(dot);
            }
        }
    }
    made
}

#[cfg(test)]
mod tests;
