package pipeline

import "strings"

// Names of variables whose words do not tell that they hold a secret. They count in
// capitals only: elsewhere pat is a pattern as often, and app_key an id.

// variables are those that programs and services document.
var variables = map[string]nature{
	"VAULT_DEV_ROOT_TOKEN_ID": secret, "VAULT_SECRET_ID": secret, "BW_SESSION": secret, "SOPS_AGE_KEY": secret, "FASTLANE_SESSION": secret,
	"KAGGLE_KEY": secret, "DD_APP_KEY": secret, "DATADOG_APP_KEY": secret, "NEW_RELIC_LICENSE_KEY": secret, "HONEYCOMB_WRITEKEY": secret,
	"OVH_CONSUMER_KEY": secret, "FCM_SERVER_KEY": secret, "ALGOLIA_ADMIN_KEY": secret, "SUPABASE_SERVICE_ROLE_KEY": secret, "PUSHOVER_USER_KEY": secret,
	"GRAFANA_AUTH": secret, "NEO4J_AUTH": secret, "HATCH_INDEX_AUTH": secret, "YARN_NPM_AUTH_IDENT": secret, "ETCDCTL_USER": userPass,
	"ORG_GRADLE_PROJECT_signingInMemoryKey": secret, "APP_KEY": secret, "APP_KEYS": secret,
	"BUNDLE_GITHUB__COM": secret, "BUNDLE_GITLAB__COM": secret, "BUNDLE_RUBYGEMS__PKG__GITHUB__COM": secret, "BUNDLE_GEM__FURY__IO": secret,
	"BUNDLE_GEMS__CONTRIBSYS__COM": secret, "BUNDLE_ENTERPRISE__CONTRIBSYS__COM": secret,
	"WORDPRESS_LOGGED_IN_KEY": secret, "WORDPRESS_NONCE_KEY": secret, "WORDPRESS_AUTH_SALT": secret, "WORDPRESS_SECURE_AUTH_SALT": secret,
	"WORDPRESS_LOGGED_IN_SALT": secret, "WORDPRESS_NONCE_SALT": secret,
}

// variableBegins are what stands before a name of the user's own.
var variableBegins = [...]string{"TF_TOKEN_", "OP_SESSION_", "POETRY_PYPI_TOKEN_", "DBT_ENV_SECRET_"}

// patternsBefore are words that make PAT a pattern.
var patternsBefore = map[string]bool{
	"FILE": true, "FILES": true, "NAME": true, "DIR": true, "LOG": true, "LINE": true, "DATE": true, "SEARCH": true, "FILTER": true, "MATCH": true, "GREP": true,
	"GLOB": true, "REGEX": true, "EXCLUDE": true, "INCLUDE": true, "IGNORE": true, "SKIP": true, "TEST": true,
}

// natureOfVariable is by the names above.
func natureOfVariable(name string) nature {
	if n := variables[name]; n != harmless {
		return n
	}
	for _, begin := range variableBegins {
		if len(name) > len(begin) && strings.HasPrefix(name, begin) {
			return secret
		}
	}
	for i := range len(name) {
		if isLower(name[i]) {
			return harmless
		}
	}
	switch rest, last := lastWord(name); {
	case rest == "":
	case last == "AUTH":
		return userPass
	case last == "PAT":
		if _, before := lastWord(rest); !patternsBefore[before] {
			return accessToken
		}
	}
	return harmless
}

// accounts are words that make pwd and pw behind them a password, also where it looks
// like a path.
var accounts = map[string]bool{
	"mysql": true, "mariadb": true, "db": true, "database": true, "sql": true, "mssql": true, "sqlserver": true, "pg": true, "pgsql": true, "postgres": true,
	"postgresql": true, "oracle": true, "ora": true, "snowsql": true, "snowflake": true, "odbc": true, "jdbc": true, "redis": true, "mongo": true, "mongodb": true,
	"ldap": true, "smtp": true, "imap": true, "ftp": true, "sftp": true, "keystore": true, "truststore": true, "login": true, "admin": true, "sa": true, "dba": true,
}
