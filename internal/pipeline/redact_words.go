package pipeline

import "strings"

// What a word that is no flag is, by program: the values of program.then.

// next makes the word behind one of these a secret.
func next(words ...string) func(*command, string) kind {
	return func(c *command, w string) kind {
		for _, s := range words {
			if strings.EqualFold(s, w) {
				c.next = whole
			}
		}
		return nothing
	}
}

// settings are of a program with commands such as: set NAME VALUE.
func settings(c *command, w string) kind {
	if c.prog.subs != "" && c.seen == "" || c.seen == "secret" || c.seen == "login" || c.seen == "put-parameter" {
		return nothing
	}
	switch { // poetry config http-basic.NAME USER PASSWORD
	case c.noted == 2:
		c.noted = 0
		return whole
	case c.noted == 1, strings.HasPrefix(w, "http-basic."), strings.HasPrefix(w, "bitbucket-oauth."):
		c.noted++
		return nothing
	}
	for _, store := range [...]string{"github-oauth.", "gitlab-oauth.", "gitlab-token.", "bearer.", "pypi-token."} { // of composer and poetry
		if strings.HasPrefix(w, store) {
			c.next = whole
		}
	}
	if natureOf(w) != harmless && strings.IndexByte(w, '=') < 0 {
		c.next = whole
	}
	return nothing
}

// nth makes the nth word that is no flag a secret.
func nth(n int, k kind) func(*command, string) kind {
	return func(c *command, _ string) kind {
		if c.args == n {
			return k
		}
		return nothing
	}
}

// behind makes the word behind one of these phrases a secret. In a phrase . is any
// word; there are up to 7.
func behind(k kind, phrases ...string) func(*command, string) kind {
	words := make([][]string, len(phrases))
	for i, p := range phrases {
		words[i] = strings.Fields(p)
	}
	return func(c *command, w string) kind {
		if c.seen != "" {
			return nothing
		}
		if c.args == 1 && w[:min(1, len(w))] == "+" { // cargo +nightly login
			c.args = 0
			return nothing
		}
		found, at := nothing, c.args-1
		for i, p := range words { // noted has those that it is not
			switch {
			case c.noted&(1<<i) != 0 || at > len(p):
			case at == len(p):
				found = k
			case p[at] != "." && !strings.EqualFold(p[at], w):
				c.noted |= 1 << i
			}
		}
		return found
	}
}

func textWord(c *command, _ string) kind {
	if c.seen != "" {
		return commandText
	}
	return nothing
}

// mysqlAdminWord: mysqladmin password SECRET, which may be shortened.
func mysqlAdminWord(c *command, w string) kind {
	for _, s := range [...]string{"password", "old-password"} {
		if len(w) > 1 && strings.HasPrefix(s, strings.ToLower(w)) {
			c.next = whole
		}
	}
	return nothing
}

// redisWord: AUTH [user] password, CONFIG SET requirepass password, ACL SETUSER
// user >password.
func redisWord(c *command, w string) kind {
	switch {
	case c.noted == 1:
		return whole
	case c.noted == 2 && w != "" && strings.IndexByte("><#!", w[0]) >= 0:
		return sigil
	case strings.EqualFold(w, "setuser"):
		c.noted = 2
	case strings.EqualFold(w, "auth"):
		c.noted = 1
	case natureOf(w) != harmless:
		c.next = whole
	}
	return nothing
}

// sambaWord: smbclient //server/share password.
func sambaWord(c *command, w string) kind {
	if strings.HasPrefix(w, `\\`) || strings.HasPrefix(w, "//") {
		c.next = whole
	}
	return nothing
}

// netWord: net use Z: \\server\share password, net user name password.
func netWord(c *command, w string) kind {
	switch {
	case c.args == 1 && strings.EqualFold(w, "user"):
		c.noted = 1
	case c.args == 3 && c.noted != 0:
		return whole
	}
	return sambaWord(c, w)
}

// htpasswdWord: htpasswd -b file user password, htpasswd -nb user password.
func htpasswdWord(c *command, _ string) kind {
	const b, n = 1, 2 // bits of notes
	if c.noted == b && c.args == 3 || c.noted == b|n && c.args == 2 {
		return whole
	}
	return nothing
}

// vaultWord: vault login token, vault kv put path name=value...
func vaultWord(c *command, w string) kind {
	switch {
	case c.seen == "login", c.seen == "unseal", c.seen == "rekey", c.seen == "unwrap", c.seen == "token" && c.args == 3:
		return whole
	case c.seen == "token":
		return nothing
	case c.seen != "" && strings.IndexByte(w, '=') > 0:
		return afterEqual
	}
	return nothing
}

// nmcliWord: nmcli con add ... wifi-sec.key-mgmt wpa-psk wifi-sec.psk SECRET.
func nmcliWord(c *command, w string) kind {
	if strings.HasPrefix(w, "wpa-") {
		return nothing
	}
	return settings(c, w)
}

// pulumiWord: pulumi config set NAME SECRET --secret, pulumi env set PLACE NAME SECRET.
func pulumiWord(c *command, w string) kind {
	switch {
	case c.seen != "set":
		if w == "env" {
			c.noted = 1
		}
	case c.args == 3+int(c.noted):
		if natureOf(w) != harmless {
			c.next = whole
		}
	case c.args == 4+int(c.noted):
		return sealable
	}
	return nothing
}

// bundleWord: bundle config HOST user:SECRET, and the mirror of a host.
func bundleWord(c *command, w string) kind {
	if c.seen == "config" && strings.IndexByte(w, '.') > 0 && !strings.HasPrefix(w, "mirror.") && !strings.HasPrefix(w, "build.") && !strings.HasPrefix(w, "local.") {
		c.next = afterColon
		return nothing
	}
	return settings(c, w)
}

// netshWord: netsh wlan set hostednetwork key=SECRET, and show profile key=clear.
func netshWord(_ *command, w string) kind {
	if strings.HasPrefix(w, "key=") && w != "key=clear" {
		return afterEqual
	}
	return nothing
}

// encryptWord: ansible-vault encrypt_string SECRET.
func encryptWord(c *command, _ string) kind {
	if c.seen != "" {
		return whole
	}
	return nothing
}

// ipmiWord: ipmitool user set password 2 SECRET.
func ipmiWord(c *command, w string) kind {
	if c.noted > 0 || w == "password" {
		c.noted++
	}
	if c.noted == 3 {
		return whole
	}
	return nothing
}

// rcloneWord: rclone obscure SECRET, rclone config password REMOTE NAME SECRET...,
// rclone config create REMOTE TYPE NAME VALUE...
func rcloneWord(c *command, w string) kind {
	if (c.seen == "create" || c.seen == "update") && c.args > 3 && natureOf(w) != harmless && strings.IndexByte(w, '=') < 0 {
		c.next = whole
	}
	if c.seen == "obscure" || c.seen == "password" && c.args > 4 && c.args%2 == 1 {
		return whole
	}
	return nothing
}

// tmuxWord: tmux new-session TEXT, and as words of its own.
func tmuxWord(c *command, w string) kind {
	switch {
	case c.seen == "":
		return nothing
	case strings.IndexByte(w, ' ') < 0:
		return commandWord
	}
	return commandText
}

// thirdWord: rabbitmqctl add_user ann SECRET.
func thirdWord(c *command, _ string) kind {
	if c.seen != "" && c.args == 3 {
		return whole
	}
	return nothing
}

// xauthWord: xauth add :0 MIT-MAGIC-COOKIE-1 SECRET.
func xauthWord(c *command, _ string) kind {
	if c.seen != "" && c.args == 4 {
		return whole
	}
	return nothing
}

// rmanWord: rman target user/SECRET@db.
func rmanWord(c *command, w string) kind {
	if w = strings.ToLower(w); w == "target" || w == "catalog" || w == "auxiliary" {
		c.next = afterSlash
	}
	return nothing
}
