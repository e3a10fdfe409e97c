package pipeline

import "slices"

func letter(flag string, k kind, f form) rule { return rule{flag: flag, kind: k, form: f} }

var (
	mysql       = ofMySQL("ABbCcEfGHIijLNnoqrsTtUvVwX", "uhPSDeO", nil)
	mysqlDump   = ofMySQL("AaBcCdeEfFiIkKlnNoqQRtvVxXYy", "uhPSrTwO", nil)
	mysqlAdmin  = ofMySQL("BbCEfIlrsvV", "uhPSciO", mysqlAdminWord)
	mysqlImport = ofMySQL("CdfIilLrsvV", "uhPScO", nil)
	mysqlShow   = ofMySQL("CIiktvV", "uhPScO", nil)
	mysqlCheck  = ofMySQL("AaBcCeFfgImoqrsUvVz", "uhPSO", nil)
	mysqlSlap   = ofMySQL("aCIsTvV", "uhPSceiqFxyN", nil)
	mysqlBinlog = ofMySQL("CDFfHIRstvV", "uhPSdjlorT", nil)
	mysqlOther  = ofMySQL("vV", "uhPSDe", nil)

	mysqlsh = ofMySQL("vV", "uhPSDe", func(*command, string) kind { return userinfo })

	freerdp   = &program{rules: []rule{{flag: "/p:", kind: whole}, {flag: "/gp:", kind: whole}, {flag: "/pth:", kind: whole}}, skip: noCommand}
	impacket  = &program{rules: []rule{letter("-p", whole, apart), {flag: "-hashes", kind: whole}}, skip: noCommand, then: nth(1, target)}
	mosquitto = letters("-P")
	mongo     = &program{rules: []rule{letter("-p", whole, either), {flag: "--eval", kind: code}}, skip: noCommand}
	redis     = &program{rules: []rule{letter("-a", whole, apart)}, values: "hpsunrid", skip: noCommand, then: redisWord}
	ldap      = &program{rules: []rule{letter("-w", whole, either)}, bools: "xvnZMcLAWQNI", values: "DHhpbsfUYRXO", skip: noCommand}
	ldapSet   = &program{rules: []rule{letter("-w", whole, either), letter("-s", whole, either), letter("-a", whole, either)},
		bools: "xvnZASWQNI", values: "DHhpUYRXO", skip: noCommand}
	samba = &program{rules: []rule{letter("-U", afterPercent, either), {flag: "--user", kind: afterPercent}}, bools: "LNkgqEP",
		values: "cIpWsDndml", skip: noCommand, then: sambaWord}
	// sambaTool has flags for every attribute of a user, most of which take a value.
	sambaTool = &program{
		rules: append([]rule{{flag: "--random-password", kind: nothing}}, samba.rules...), bools: "NPV", values: "HsdWnOlik", skip: noCommand,
		flags: "help version no-pass machine-pass use-username-as-cn must-change-at-next-login smartcard-required clear-smartcard-required",
		then:  behind(whole, "user create .", "user add ."),
	}
	pulumi = &program{rules: []rule{{flag: "--secret", kind: afterEqual, after: "set-all"}, {flag: "--secret", kind: seals}}, subs: "set set-all",
		longs: "stack cwd color config-file type", values: "sC", skip: noCommand, then: pulumiWord}
	kadmin = &program{rules: append(texts("-q"), letter("-w", whole, either)), skip: noCommand}
	// minio is Midnight Commander by the same name, which has no such words.
	minio = &program{longs: "api path config-dir", values: "C", skip: noCommand,
		then: behind(whole, "alias set . . .", "config host add . . .", "admin user add . .")}
	// dnsKey is of dig and nsupdate: -y [algorithm:]name:SECRET.
	dnsKey = &program{rules: []rule{letter("-y", afterLast, either)}, bools: "46dDgiromTvVu", skip: noCommand}
	snmp   = &program{rules: []rule{letter("-c", whole, either), letter("-A", whole, either), letter("-X", whole, either),
		{flag: "-3m", kind: whole}, {flag: "-3M", kind: whole}}, values: "vuaxlntrOIMmC", skip: noCommand}
	zip    = &program{rules: []rule{letter("-P", whole, either)}, bools: "rqvjoemXylnfCuL9", skip: noCommand}
	seven  = &program{rules: []rule{letter("-p", whole, attached)}, skip: noCommand}
	rar    = &program{rules: []rule{{flag: "-hp", kind: whole, form: attached}, letter("-p", whole, attached)}, skip: noCommand}
	oracle = &program{skip: noCommand, then: nth(1, afterSlash)}
	httpie = &program{rules: []rule{letter("-a", afterColon, either), {flag: "--auth", kind: afterColon},
		letter("-A", authType, either), {flag: "--auth-type", kind: authType}}, skip: noCommand}
	spray   = &program{rules: []rule{letter("-p", whole, either), letter("-H", whole, either)}, bools: "d", skip: noCommand}
	ansible = &program{rules: []rule{letter("-a", commandText, either), {flag: "--args", kind: commandText}}, skip: noCommand}
	az      = &program{rules: []rule{{flag: "-p", kind: whole, after: "login"}, {flag: "--value", kind: whole, after: "secret"},
		{flag: "-p", kind: whole, after: "sql"}, {flag: "-p", kind: whole, after: "mysql"}, {flag: "-p", kind: whole, after: "postgres"}}, subs: "login secret config sql mysql postgres", skip: noCommand, then: settings}
	aws   = &program{rules: []rule{{flag: "--value", kind: whole, after: "put-parameter"}}, skip: noCommand, subs: "configure put-parameter", then: settings}
	vault = &program{rules: []rule{{flag: "-method", kind: other}, {flag: "-path", kind: other}, {flag: "-nonce", kind: other}}, subs: "login kv write unseal rekey unwrap token", skip: noCommand, then: vaultWord}
	// postgres asks for the password.
	postgres  = &program{rules: []rule{{flag: "--password", kind: nothing}}, skip: noCommand}
	storesRun = &program{skip: noCommand, subs: "config configure set run exec", runs: "run exec", then: settings}
	stores    = &program{skip: noCommand, subs: "config configure set config:set", then: settings}

	search = &program{searches: true, skip: noCommand}

	shell = &program{shell: true, values: "oO", longs: "rcfile init-file", bools: "abefhilmnprstuvxBCDEHPST"}
	plain = &program{} // the first word that is no flag is a command
	// multiCall is as plain, and by argv[0] it is that program.
	dashes    = &program{skip: noCommand, dashes: true}
	multiCall = &program{multi: true}
	python    = &program{rules: append(codes("-c"), rule{flag: "-m", kind: module}), values: "WX", bools: "bBdEhiIOPqsSuvVx"}
	lua       = &program{rules: codes("-e"), values: "l"}
	vim       = &program{rules: codes("-c", "--cmd"), skip: noCommand}
	awk       = &program{rules: codes("-e", "--source"), values: "Fvfil", longs: "file field-separator assign include load", skip: noCommand, then: nth(1, code)}
	docker    = &program{
		rules: []rule{
			{flag: "-p", kind: whole, after: "login"}, {flag: "--secret", kind: other}, {flag: "--creds", kind: afterColon},
			{flag: "--src-creds", kind: afterColon}, {flag: "--dest-creds", kind: afterColon}, {flag: "--entrypoint", kind: entry},
		},
		skip: noCommand, subs: "login run exec create", executes: "run exec create", values: "aceghlmnpuvwHfl", bools: "ditPqD",
		flags: "rm init interactive tty detach privileged read-only no-healthcheck publish-all quiet tls tlsverify debug help password-stdin no-trunc all force pull-always " +
			"no-deps service-ports use-aliases build quiet-pull remove-orphans dry-run compatibility oom-kill-disable sig-proxy no-stdin latest replace rmi " +
			"rootfs env-host no-hosts no-hostname read-only-tmpfs disable-content-trust version",
	}
	podman     = ofPodman()
	secretsSet = &program{subs: "secrets", skip: noCommand, then: vaultWord}
	certipy    = &program{rules: []rule{letter("-p", whole, apart), {flag: "-hashes", kind: whole}}, skip: noCommand}
	logins     = &program{rules: []rule{{flag: "-p", kind: whole, after: "login"}}, subs: "login", skip: noCommand}
	kube       = &program{skip: noCommand, dashes: true, rules: []rule{{flag: "--from-literal", kind: afterEqual}, {flag: "-p", kind: whole, after: "login"}},
		subs: "login"}
)

// ofMySQL is a program of its family: with letters of flags that take no value,
// which may stand before p in one word, and of those that take one.
func ofMySQL(bools, values string, then func(*command, string) kind) *program {
	return &program{rules: []rule{letter("-p", whole, attached)}, optional: true, bools: bools, values: values, skip: noCommand, then: then}
}

// programs is keyed by name. A flag of one letter is a secret for these alone: -p
// is a port for ssh, parents for mkdir, publish for docker run.
var programs = map[string]*program{
	"mysql": mysql, "mariadb": mysql, "mysqldump": mysqlDump, "mysqlpump": mysqlDump, "mariadb-dump": mysqlDump,
	"mysqladmin": mysqlAdmin, "mariadb-admin": mysqlAdmin, "mysqlimport": mysqlImport, "mariadb-import": mysqlImport,
	"mysqlshow": mysqlShow, "mariadb-show": mysqlShow, "mysqlcheck": mysqlCheck, "mariadb-check": mysqlCheck,
	"mysqlslap": mysqlSlap, "mariadb-slap": mysqlSlap, "mysqlbinlog": mysqlBinlog, "mariadb-binlog": mysqlBinlog,
	"mysqlsh": mysqlsh, "mycli": mysqlOther, "mariabackup": mysqlOther, "mariadb-backup": mysqlOther, "xtrabackup": mysqlOther,

	"mongo": mongo, "mongosh": mongo, "mongodump": mongo, "mongorestore": mongo, "mongoexport": mongo, "mongoimport": mongo, "mongostat": mongo,
	"mongotop": mongo, "mongofiles": mongo, "cqlsh": mongo, "beeline": mongo, "isql-fb": mongo, "arangosh": mongo, "evil-winrm": mongo,
	"certutil": mongo, "ipmitool": {rules: []rule{letter("-P", whole, either), letter("-k", whole, either)}, values: "IHUpLtbmCSd", skip: noCommand, then: ipmiWord},
	"redis-cli": redis, "valkey-cli": redis, "keydb-cli": redis,

	"sshpass": {rules: []rule{letter("-p", whole, either)}, bools: "eVhv", values: "fdP"},
	"curl": {
		rules: []rule{
			letter("-u", afterColon, either), letter("-U", afterColon, either), letter("-H", header, either), letter("-b", cookies, either),
			letter("-x", userinfo, either), letter("-E", afterColon, either), {flag: "--user", kind: afterColon}, {flag: "--proxy-user", kind: afterColon},
			{flag: "--cookie", kind: cookies}, {flag: "--proxy", kind: userinfo}, {flag: "--cert", kind: afterColon}, {flag: "--socks5", kind: userinfo},
			{flag: "--proxy-cert", kind: afterColon},
		},
		bools: "sSfLkvgiIaOjlnNpqRZ0123456#GJM", values: "XdFoTAeDcmrtwyYzCPQK", skip: noCommand,
		then: func(*command, string) kind { return userinfo },
	},
	"http": httpie, "https": httpie, "xh": httpie, "xhs": httpie,
	"ncat":          {rules: []rule{{flag: "--proxy-auth", kind: afterColon}}, skip: noCommand},
	"lftp":          {rules: []rule{letter("-u", afterComma, either), {flag: "--user", kind: afterComma}}, skip: noCommand},
	"mosquitto_pub": mosquitto, "mosquitto_sub": mosquitto, "mosquitto_rr": mosquitto,

	"ldapsearch": ldap, "ldapadd": ldap, "ldapmodify": ldap, "ldapdelete": ldap, "ldapmodrdn": ldap, "ldapcompare": ldap, "ldapwhoami": ldap,
	"ldapexop": ldap, "ldappasswd": ldapSet,
	"smbclient": samba, "rpcclient": samba, "smbget": samba, "smbcacls": samba, "smbcquotas": samba, "smbtree": samba, "winexe": samba, "samba-tool": sambaTool,
	"ldbsearch": samba, "ldbadd": samba, "ldbmodify": samba, "ldbdel": samba, "ldbedit": samba,
	"smbpasswd": {rules: append([]rule{letter("-w", whole, either)}, samba.rules...), bools: "axdenmsL", skip: noCommand},
	"net":       {rules: samba.rules, bools: "LNkgqEP", values: "IpWswndlr", slashes: true, skip: noCommand, then: netWord},
	"snmpget":   snmp, "snmpwalk": snmp, "snmpbulkwalk": snmp, "snmpbulkget": snmp, "snmpset": snmp, "snmpgetnext": snmp, "snmptrap": snmp,
	"snmpinform": snmp, "snmptable": snmp, "snmpstatus": snmp, "snmptranslate": snmp, "snmpdf": snmp,

	"openssl": {
		rules: []rule{
			{flag: "-passin", kind: afterPass}, {flag: "-passout", kind: afterPass}, {flag: "-pass", kind: afterPass}, {flag: "-password", kind: afterPass},
			{flag: "-kdfopt", kind: afterPass}, {flag: "-macopt", kind: afterPass}, {flag: "-hmac", kind: whole}, {flag: "-psk", kind: whole}, letter("-k", whole, apart), letter("-K", whole, either),
			{flag: "-in", kind: other}, {flag: "-out", kind: other}, {flag: "-salt", kind: other}, {flag: "-rand", kind: other},
		},
		subs: "passwd", skip: noCommand,
		then: func(c *command, w string) kind {
			if c.seen == "passwd" && c.args > 1 {
				return whole
			}
			return nothing
		},
	},
	"mkpasswd": {values: "mSRPpldcC", longs: "rounds method salt password-fd", skip: noCommand, then: nth(1, whole)},
	"useradd":  {rules: []rule{letter("-p", whole, either)}, skip: noCommand}, "usermod": {rules: []rule{letter("-p", whole, either)}, skip: noCommand}, "groupadd": letters("-p"), "groupmod": letters("-p"),
	"htpasswd":      {bools: "cmBdspDv5", notes: "bn", values: "Cr", skip: noCommand, then: htpasswdWord},
	"ansible-vault": {subs: "encrypt_string", values: "n", longs: "name stdin-name vault-id encrypt-vault-id output", skip: noCommand, then: encryptWord},
	"psql":          postgres, "pg_dump": postgres, "pg_dumpall": postgres, "pg_restore": postgres, "pg_basebackup": postgres, "pgbench": postgres,
	"createdb": postgres, "dropdb": postgres, "createuser": postgres, "dropuser": postgres, "vacuumdb": postgres, "reindexdb": postgres, "clusterdb": postgres,
	"openvpn": others("--auth-user-pass"), "vncviewer": others("-passwd", "--passwd"), "puttygen": others("--old-passphrase", "--new-passphrase"),
	"duplicity": others("--encrypt-key", "--encrypt-secret-keyring", "--sign-key"), "etcd": others("--auth-token", "--initial-cluster-token"),
	"wpa_passphrase": {skip: noCommand, then: nth(2, whole)}, "nmcli": {values: "gfmcew", bools: "tpash", longs: "get-values fields mode colors escape wait", skip: noCommand, then: nmcliWord},
	"rclone":      {subs: "obscure password create update", skip: noCommand, then: rcloneWord},
	"pkcs11-tool": {rules: []rule{{flag: "--pin", kind: whole}, {flag: "--so-pin", kind: whole}, letter("-p", whole, apart)}, skip: noCommand},

	"rabbitmqctl": {values: "nt", longs: "node timeout", subs: "add_user change_password authenticate_user", skip: noCommand, then: thirdWord}, "rabbitmqadmin": letters("-p"),
	"mosquitto_passwd": {bools: "cDHU", notes: "bn", skip: noCommand, then: htpasswdWord}, "redis-benchmark": {rules: []rule{letter("-a", whole, apart)}, skip: noCommand},
	"cypher-shell": letters("-p"), "neo4j-admin": {skip: noCommand, then: next("set-initial-password")}, "hdbsql": letters("-p"), "sqlline": {rules: []rule{letter("-p", whole, apart)}, skip: noCommand},
	"vsql": letters("-w"), "aql": letters("-P"), "asadm": letters("-P"), "mydumper": letters("-p"), "myloader": letters("-p"), "mssql-cli": letters("-P"),
	"db2": {skip: noCommand, then: behind(whole, "connect to . user . using", "attach to . user . using")},
	"influx": {
		rules: []rule{letter("-t", whole, apart), {flag: "-p", kind: whole, after: "setup"}, {flag: "-p", kind: whole, after: "user"}, {flag: "-p", kind: afterColon, after: "config"}},
		subs:  "setup user config write query", skip: noCommand,
	},
	"elasticsearch-users": letters("-p"), "add-user.sh": letters("-p"), "filebrowser": {values: "dc", longs: "database config", skip: noCommand, then: behind(whole, "users add .")},
	"grafana-cli": {skip: noCommand, then: next("reset-admin-password")}, "grafana": {skip: noCommand, then: next("reset-admin-password")},
	"wp": stores, "drush": {skip: noCommand, then: behind(whole, "user:password .", "user-password .", "upwd .")},
	"tsql": letters("-P"), "osql": letters("-P"), "rman": {skip: noCommand, then: rmanWord}, "mysql_upgrade": mysqlOther, "mariadb-upgrade": mysqlOther,
	"ssh-keygen": {rules: []rule{letter("-N", whole, either), letter("-P", whole, either)}, bools: "qlyiepBLHAkKghuvQ", values: "tbCfOIDVnzrRFamMsSYwZ", skip: noCommand},
	"pdftk":      {skip: noCommand, then: next("input_pw", "owner_pw", "user_pw")}, "qpdf": {rules: []rule{{flag: "--encrypt", kind: twice}}, skip: noCommand},
	"ccrypt": letters("-K"), "veracrypt": letters("-p"), "slappasswd": letters("-s"), "kadmin": kadmin, "kadmin.local": kadmin, "ipa-server-install": letters("-p", "-a"), "ipa-replica-install": letters("-p", "-w"), "ipa-client-install": letters("-w"), "dsconf": letters("-w"),
	"wbinfo": {rules: []rule{letter("-a", afterPercent, either), letter("-K", afterPercent, either), {flag: "--authenticate", kind: afterPercent}}, skip: noCommand},
	"racadm": letters("-p"), "idracadm": letters("-p"), "ilorest": letters("-p"), "ipmipower": letters("-p"), "check_snmp": letters("-C", "-A", "-X"), "check_mysql": letters("-p"),
	"check_mysql_query": letters("-p"), "check_pgsql": letters("-p"), "check_ldap": letters("-P"), "check_ldaps": letters("-P"),
	"check_http":  {rules: []rule{letter("-a", afterColon, either), letter("-b", afterColon, either)}, skip: noCommand},
	"secretsdump": impacket, "wmiexec": impacket, "psexec": impacket, "smbexec": impacket, "atexec": impacket, "dcomexec": impacket, "getuserspns": impacket,
	"getnpusers": impacket, "gettgt": impacket, "getst": impacket, "mssqlclient": impacket, "lookupsid": impacket, "samrdump": impacket,
	"certipy": certipy, "certipy-ad": certipy, "bloodhound-python": letters("-p"), "ldapdomaindump": letters("-p"), "enum4linux": letters("-p"),
	"sqlmap": {rules: []rule{{flag: "--auth-cred", kind: afterColon}}, skip: noCommand}, "nikto": {rules: []rule{{flag: "-id", kind: afterColon}}, skip: noCommand},
	"smbmap": letters("-p"), "hydra": letters("-p"), "medusa": letters("-p"),
	"wpa_cli": {values: "pPisaGg", skip: noCommand, then: settings}, "iwconfig": {skip: noCommand, then: next("key", "enc")},
	"xauth":       {values: "f", subs: "add", skip: noCommand, then: xauthWord},
	"cloudflared": {skip: noCommand, then: next("install")}, "yt-dlp": letters("-p"), "youtube-dl": letters("-p"),
	"ncftp": letters("-p"), "ncftpput": letters("-p"), "ncftpget": letters("-p"), "ncftpls": letters("-p"),
	"jq": {rules: []rule{{flag: "--arg", kind: named}}, skip: noCommand}, "ab": {rules: []rule{letter("-A", afterColon, either), letter("-P", afterColon, either)}, skip: noCommand},

	"openconnect": letters("-p", "-C"), "openfortivpn": letters("-p"), "netbird": {rules: []rule{letter("-k", whole, either), {flag: "--setup-key", kind: whole}}, skip: noCommand},
	"ss-local": letters("-k"), "ss-server": letters("-k"), "ss-redir": letters("-k"), "ss-tunnel": letters("-k"), "sslocal": letters("-k"), "ssserver": letters("-k"),
	"chisel": {rules: []rule{{flag: "--auth", kind: afterColon}}, skip: noCommand}, "wscat": {rules: []rule{{flag: "--auth", kind: afterColon}}, skip: noCommand},
	"ttyd": {rules: []rule{letter("-c", afterColon, either)}, skip: noCommand}, "gotty": {rules: []rule{letter("-c", afterColon, either)}, skip: noCommand},
	"hey": {rules: []rule{{flag: "-a", kind: afterColon}}, skip: noCommand}, "hurl": {rules: []rule{letter("-u", afterColon, either), {flag: "--user", kind: afterColon}}, skip: noCommand},
	"lynx": {rules: []rule{{flag: "-auth", kind: afterColon}, {flag: "-pauth", kind: afterColon}}, skip: noCommand},
	"pppd": {skip: noCommand, then: next("password")}, "iw": {skip: noCommand, then: next("key", "keys")}, "zerotier-cli": letters("-T"),
	"sendemail": {rules: []rule{{flag: "-xp", kind: whole}}, skip: noCommand}, "sendxmpp": letters("-p"), "irssi": letters("-w"), "fs_cli": letters("-p"),
	"sipp": {rules: []rule{{flag: "-ap", kind: whole}}, skip: noCommand}, "vncdo": letters("-p"), "vncdotool": letters("-p"),
	"hdparm": {
		rules: []rule{{flag: "--security-set-pass", kind: whole}, {flag: "--security-unlock", kind: whole}, {flag: "--security-disable", kind: whole},
			{flag: "--security-erase", kind: whole}, {flag: "--security-erase-enhanced", kind: whole}},
		skip: noCommand,
	},
	"upscmd": letters("-p"), "upsrw": letters("-p"), "vmrun": {rules: []rule{{flag: "-gp", kind: whole}, {flag: "-vp", kind: whole}, {flag: "-p", kind: whole}}, skip: noCommand},
	"yubico-piv-tool":       {rules: []rule{letter("-P", whole, either), letter("-N", whole, either), letter("-k", whole, either), {flag: "--key", kind: whole}}, skip: noCommand},
	"gpg-preset-passphrase": letters("-P"), "keytool": {rules: []rule{{flag: "-new", kind: whole}, {flag: "-storepasswd", kind: nothing}, {flag: "-keypasswd", kind: nothing}}, skip: noCommand},
	"mutool": letters("-p"), "gallery-dl": letters("-p"), "kopia": letters("-p"), "swift": {rules: []rule{letter("-K", whole, either), {flag: "--key", kind: whole}}, skip: noCommand},
	"b2": {skip: noCommand, then: behind(whole, "authorize-account .", "account authorize .")}, "mega-login": {skip: noCommand, then: nth(2, whole)},
	"megaput": letters("-p"), "megaget": letters("-p"), "megals": letters("-p"), "megadl": letters("-p"), "megacopy": letters("-p"),

	"security": {
		rules: []rule{{flag: "-w", kind: whole, after: "add-generic-password"}, {flag: "-w", kind: whole, after: "add-internet-password"},
			{flag: "-p", kind: whole, after: "unlock-keychain"}, {flag: "-p", kind: whole, after: "create-keychain"}, {flag: "-k", kind: whole, after: "set-key-partition-list"},
			{flag: "-o", kind: whole, after: "set-keychain-password"}, {flag: "-p", kind: whole, after: "set-keychain-password"},
			{flag: "-P", kind: whole, after: "import"}, {flag: "-P", kind: whole, after: "export"}},
		subs: "add-generic-password add-internet-password unlock-keychain create-keychain set-key-partition-list set-keychain-password import export", skip: noCommand,
	},
	"dscl": {rules: []rule{{flag: "-passwd", kind: owner}}, skip: noCommand, then: next("password")}, "altool": {rules: []rule{letter("-p", whole, apart)}, skip: noCommand}, "xcrun": {longs: "sdk toolchain"},

	"7z": seven, "7za": seven, "7zr": seven, "7zz": seven, "rar": rar, "unrar": rar, "zip": zip, "unzip": zip, "zipcloak": zip,

	"docker": docker, "podman": podman, "nerdctl": docker, "buildah": docker, "skopeo": docker, "docker-compose": docker,
	"helm": logins, "crane": logins, "oras": logins, "cosign": logins, "regctl": logins, "ibmcloud": logins,
	"kubectl": kube, "oc": kube, "k3s": multiCall,
	"azure.cli": az, "az": az,
	"cf":     {rules: logins.rules, subs: "login", skip: noCommand, then: behind(whole, "auth .", "create-user .")},
	"gcloud": {rules: []rule{{flag: "--secret", kind: other}, {flag: "--command", kind: commandText}}, subs: "config", skip: noCommand, then: settings}, "aws": aws, "npm": stores, "yarn": stores, "pnpm": stores,
	"pip": stores, "poetry": storesRun, "composer": stores, "gem": stores, "git": stores, "bundle": {skip: noCommand, subs: storesRun.subs, runs: storesRun.runs, then: bundleWord},
	"gh":    {rules: []rule{{flag: "-b", kind: whole, after: "secret"}, {flag: "--body", kind: whole, after: "secret"}}, subs: "secret", skip: noCommand},
	"glab":  {rules: []rule{{flag: "-t", kind: whole, after: "login"}}, subs: "login", skip: noCommand},
	"twine": {rules: []rule{letter("-p", whole, apart)}, skip: noCommand},
	"vault": vault, "bao": vault, "pulumi": pulumi, "esc": pulumi,
	"cargo": {longs: "registry color config", skip: noCommand, then: behind(whole, "login")}, "nuget": {skip: noCommand, then: behind(whole, "setapikey")},
	"dotnet": {
		rules: []rule{{flag: "-p", kind: whole, after: "nuget"}, {flag: "-k", kind: whole, after: "nuget"}}, subs: "nuget",
		values: "pc", longs: "project id configuration", skip: noCommand, then: behind(whole, "user-secrets set ."),
	},
	"mvn": {rules: []rule{{flag: "-ep", kind: whole}, {flag: "-emp", kind: whole}}, skip: noCommand}, "codecov": letters("-t"), "codecovcli": letters("-t"),
	"gitlab-runner": {rules: []rule{{flag: "-r", kind: whole, form: apart, after: "register"}, {flag: "-t", kind: whole, form: apart, after: "register"}}, subs: "register", skip: noCommand},
	"act":           {rules: []rule{letter("-s", afterEqual, either), {flag: "--secret", kind: afterEqual}}, skip: noCommand},
	"p4":            letters("-P"), "knife": letters("-P"), "doctl": letters("-t"), "vercel": letters("-t"),
	"fly": secretsSet, "flyctl": secretsSet, "supabase": secretsSet, "nomad": {subs: "put", skip: noCommand, then: vaultWord},
	"kubeadm": {rules: []rule{{flag: "--certificate-key", kind: whole}}, longs: "ttl description groups usages config kubeconfig", skip: noCommand, then: behind(whole, "token create")},
	"snyk":    {skip: noCommand, then: next("auth")}, "ngrok": {skip: noCommand, then: next("authtoken", "add-authtoken")},
	"bw": {rules: []rule{{flag: "--session", kind: whole}}, longs: "method code passwordenv passwordfile", skip: noCommand, then: behind(whole, "unlock", "login .")},
	"mc": minio, "mcli": minio, "minio-mc": minio,
	"etcdctl": {
		rules: []rule{{flag: "--user", kind: afterColon}, {flag: "--username", kind: afterColon}, letter("-u", afterColon, either)},
		longs: "endpoints cacert cert key command-timeout dial-timeout keepalive-time keepalive-timeout discovery-srv write-out", values: "woC",
		skip: noCommand, then: behind(afterColon, "user add"),
	},
	"swaks": {rules: []rule{{flag: "-ap", kind: whole}, {flag: "--ap", kind: whole}}, optional: true, skip: noCommand},
	"dig":   dnsKey, "kdig": dnsKey, "nsupdate": dnsKey, "knsupdate": dnsKey,

	"wlfreerdp": freerdp, "sdl-freerdp": freerdp, "xfreerdp": freerdp, "wfreerdp": freerdp,
	"rdesktop": {rules: []rule{letter("-p", whole, either)}, values: "udnscklgtar", skip: noCommand},
	"nxc":      spray, "netexec": spray, "crackmapexec": spray, "cme": spray,
	"sqlcmd": {rules: []rule{letter("-P", whole, either)}, values: "USdQqi", skip: noCommand}, "bcp": {rules: []rule{letter("-P", whole, either)}, values: "US", skip: noCommand},
	"isql":     {rules: []rule{letter("-p", whole, apart), letter("-P", whole, either)}, values: "udSU", skip: noCommand, then: nth(3, whole)},
	"schtasks": {rules: []rule{{flag: "/rp", kind: whole}, {flag: "/p", kind: whole}}, skip: noCommand},
	"sc":       {skip: noCommand, then: next("password=")},
	"setx":     {slashes: true, skip: noCommand, then: settings}, "signtool": {rules: []rule{{flag: "/p", kind: whole}}, skip: noCommand},
	"reg":   {rules: []rule{{flag: "/v", kind: named}, {flag: "/t", kind: other}, {flag: "/d", kind: nothing}}, slashes: true, skip: noCommand},
	"netsh": {skip: noCommand, then: netshWord}, "winrs": {rules: []rule{{flag: "-p:", kind: whole}, {flag: "/p:", kind: whole}, {flag: "-password:", kind: whole}}},
	"netdom":  {rules: []rule{{flag: "/pd:", kind: whole}, {flag: "/po:", kind: whole}, {flag: "/passwordd:", kind: whole}, {flag: "/passwordo:", kind: whole}}, skip: noCommand},
	"sqlplus": oracle, "expdp": oracle, "impdp": oracle, "sqlldr": oracle, "exp": oracle, "imp": oracle,

	"sh": shell, "bash": shell, "dash": shell, "ash": shell, "zsh": shell, "ksh": shell, "mksh": shell, "fish": shell, "rbash": shell, "busybox": multiCall,
	"toybox": multiCall, "su": {shell: true, rules: []rule{{flag: "--command", kind: commandText}}, values: "gGsw", skip: noCommand},
	"runuser": {shell: true, rules: []rule{{flag: "--command", kind: commandText}, letter("-u", asUser, either), {flag: "--user", kind: asUser}}, values: "gGsw", longs: "group shell", skip: noCommand, dashes: true},
	"script":  {shell: true, rules: []rule{{flag: "--command", kind: commandText}}, skip: noCommand}, "eval": {joins: true},
	"cmd": {rules: []rule{{flag: "/c", kind: commandText}, {flag: "/k", kind: commandText}}, joins: true}, "powershell": powershell, "pwsh": powershell,

	"sudo": {values: "CDghpRrTtuU", bools: "AbBEeHiKklNnPSsVv", longs: "user group prompt chdir chroot close-from host role type other-user command-timeout"},
	"doas": {values: "Cu", bools: "Lns"}, "pkexec": {longs: "user"},
	"env":   {values: "uC", bools: "0iv", longs: "unset chdir", rules: []rule{letter("-S", commandText, either), {flag: "--split-string", kind: commandText}}},
	"nohup": plain, "setsid": plain, "command": plain, "exec": plain, "dbus-run-session": plain, "fakeroot": plain, "torsocks": plain,
	"proxychains": plain, "proxychains4": plain, "catchsegv": plain, "tini": plain, "dumb-init": plain, "gosu": {skip: 1}, "su-exec": {skip: 1},
	"nice": {values: "n", longs: "adjustment"}, "ionice": {values: "cnpPu", bools: "t"}, "stdbuf": {values: "ioe"}, "chroot": {skip: 1},
	"timeout": {skip: 1, values: "ks", longs: "kill-after signal"}, "taskset": {skip: 1}, "chrt": {skip: 1, values: "TPD", bools: "abdfior"},
	"time": {values: "fo"}, "strace": {values: "abeEIoOpPsSuUX", bools: "fFcCdhikqrtTvVwxyYz"}, "ltrace": {values: "aAeDFlnopsuwx"},
	"xargs": {values: "adEIiLlnPs", bools: "0oprtx"}, "parallel": parallel, "sem": parallel, "env_parallel": parallel,
	"hyperfine": {skip: noCommand, rules: texts("-p", "--prepare", "-s", "--setup", "-c", "--cleanup"), values: "wmMrSPDLNiu", bools: "i",
		longs: "warmup runs min-runs max-runs shell export-json export-csv export-markdown parameter-scan parameter-list command-name style output input time-unit",
		then:  func(*command, string) kind { return commandText }},
	"watch":   {values: "n", bools: "bcdegptx", joins: true},
	"flock":   {skip: 1, values: "wE", shell: true},
	"nsenter": {values: "tSGrw", bools: "amuinpUCTZ", longs: "target setuid setgid"}, "unshare": {values: "SGRw", bools: "imnpuUCTfrc"},
	"setpriv": {longs: "reuid regid groups"}, "systemd-run": {values: "puEHMSGdt", longs: "unit property uid gid setenv slice machine working-directory"},
	"ssh":     {skip: 1, joins: true, values: "BbcDEeFIiJLlmOoPpQRSWw", bools: "46AaCfGgKkMNnqsTtVvXxYy"},
	"tmux":    {skip: noCommand, subs: "new-session new neww new-window split-window splitw respawn-pane", values: "cefFLnSstxy", then: tmuxWord},
	"rsync":   {rules: []rule{letter("-e", commandText, apart), {flag: "--rsh", kind: commandText}}, bools: "avzhrlptgoDnHAXxSCcuPqWiRLkKNOJFsyEbdI0", values: "fBTM", skip: noCommand},
	"vagrant": {rules: texts("-c", "--command"), skip: noCommand, dashes: true},
	"lxc":     dashes, "lxc-attach": dashes, "incus": dashes, "aws-vault": dashes, "op": dashes, "doppler": {skip: noCommand, dashes: true, subs: "secrets", then: vaultWord}, "docker-entrypoint.sh": plain, "valgrind": plain,
	"perf":    {skip: noCommand, dashes: true, subs: "stat record trace", runs: "stat record trace", values: "eopCtFcGDrIm", bools: "adgivqsxSTB"},
	"numactl": {values: "NmiCp", longs: "cpunodebind physcpubind membind interleave preferred"}, "xvfb-run": {values: "efnpsw", bools: "al", longs: "auth-file error-file server-args server-num xauth-protocol wait"},
	"crictl":  {skip: noCommand, subs: "exec", executes: "exec", bools: "itsr"},
	"screen":  {values: "cehpSsTt", bools: "dmDLOqRrUvx"},
	"ansible": ansible,
	"find":    {skip: noCommand, starts: "-exec -execdir -ok -okdir"},

	"python": python, "pypy": python,
	"perl": {rules: codes("-e", "-E"), values: "ImMCFx", bools: "0123456789acfilnpsStTuUvwWX"},
	"ruby": {rules: codes("-e"), values: "rICEFKWx", bools: "0acdhilnpsSUvwy"},
	"node": {rules: codes("-pe", "-e", "-p", "--eval", "--print"), values: "rC", longs: "require import"}, "bun": {rules: codes("-e", "-p", "--eval", "--print"), skip: noCommand},
	"php": {rules: codes("-r", "-B", "-R", "-E", "--run"), values: "cdFSzt", bools: "aChHilmnqsvw"},
	"lua": lua, "luajit": lua, "rscript": lua, "groovy": lua, "osascript": lua, "elixir": lua, "julia": {rules: codes("-e", "-E", "--eval", "--print")},
	"awk": awk, "gawk": awk, "mawk": awk, "nawk": awk, "original-awk": awk,
	"expect": {rules: codes("-c")}, "guile": {rules: codes("-c")}, "r": lua, "octave": {rules: codes("--eval"), skip: noCommand},
	"deno": {skip: noCommand, then: nth(2, code)}, "emacs": {rules: codes("--eval", "-eval", "--execute", "-execute"), skip: noCommand},
	"vi": vim, "vim": vim, "nvim": vim,
	"grep": search, "egrep": search, "fgrep": search, "zgrep": search, "rg": search, "ag": search, "ack": search,

	"gdb": {rules: codes("-ex", "-iex", "--eval-command", "-eval-command"), skip: noCommand, starts: "--args"},
}

var powershell = &program{rules: []rule{{flag: "-Command", kind: commandText}, {flag: "-command", kind: commandText}, {flag: "-c", kind: commandText}}, skip: noCommand}

// parallel joins its words to one command line; without one, each of its arguments
// behind ::: is one.
var parallel = &program{
	joins: true, subs: ":::", then: textWord, values: "aCDdEIijLlNnPSsT",
	longs: "jobs max-procs sshlogin sshloginfile slf arg-file delimiter colsep delay timeout retries joblog results tmpdir tempdir workdir wd " +
		"max-args max-replace-args max-lines max-chars halt nice load memfree memsuspend block recend recstart basefile bf return env " +
		"arg-sep arg-file-sep rpl tagstring tag-string profile semaphore-name semaphorename id limit filter header process-slot-var",
}

// texts are flags whose value is a command line.
func texts(flags ...string) (rules []rule) {
	for _, f := range flags {
		rules = append(rules, rule{flag: f, kind: commandText, form: apart})
	}
	return rules
}

// others is a program with flags that only look as if a secret were behind them.
func others(flags ...string) *program {
	p := &program{skip: noCommand}
	for _, f := range flags {
		p.rules = append(p.rules, rule{flag: f, kind: other})
	}
	return p
}

func ofPodman() *program {
	p := clone(docker)
	p.latest = true
	return p
}

// letters is a program with flags of one letter that a secret is behind.
func letters(flags ...string) *program {
	p := &program{skip: noCommand}
	for _, f := range flags {
		p.rules = append(p.rules, letter(f, whole, either))
	}
	return p
}

func clone(p *program) *program {
	q := *p
	q.rules = slices.Clone(p.rules)
	return &q
}

// codes are flags whose value is a program in another language.
func codes(flags ...string) (rules []rule) {
	for _, f := range flags {
		rules = append(rules, rule{flag: f, kind: code})
	}
	return rules
}
