# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# openssl.sh digests|ciphers|keys: all algorithms that it lists. Ciphers are
# also taken back.
set -eu
seq 1 30000 >text
key=$(printf '%064d' 1234567890) iv=$(printf '%032d' 987)

digests() {
	for d in $(openssl list -digest-commands); do
		openssl dgst "-$d" text
	done
	openssl dgst -sha256 -hmac key text
	openssl mac -macopt hexkey:00112233445566778899aabbccddeeff \
		-macopt cipher:AES-128-CBC -in text CMAC
	openssl mac -macopt hexkey:00112233 -in text KMAC128
	openssl kdf -keylen 32 -kdfopt digest:SHA2-256 -kdfopt pass:word \
		-kdfopt salt:salt -kdfopt iter:2000 PBKDF2
	openssl kdf -keylen 24 -kdfopt digest:SHA2-512 -kdfopt key:secret \
		-kdfopt salt:salt -kdfopt info:label HKDF
	openssl passwd -6 -salt abc password
}

ciphers() {
	for c in $(openssl list -cipher-commands); do
		case $c in
		*wrap*) continue ;;
		esac
		openssl enc "-$c" -provider default -provider legacy -K "$key" \
			-iv "$iv" -in text -out sealed 2>err || {
			# Some need what this command does not give.
			echo "$c: $(head -n 1 err | cut -c 1-60)"
			continue
		}
		openssl enc -d "-$c" -provider default -provider legacy \
			-K "$key" -iv "$iv" -in sealed 2>/dev/null | cmp - text
		echo "$c: $(sha256sum <sealed)"
	done
}

# Keys and most signatures are random: what is compared is that each verifies,
# and that a spoilt one does not.
sign() {
	openssl pkey -in "$1" -pubout -out pub
	openssl dgst -sha256 -sign "$1" -out sig text
	openssl dgst -sha256 -verify pub -signature sig text
	openssl dgst -sha256 -verify pub -signature sig /etc/passwd 2>&1 |
		grep '^Ver'
}

keys() {
	openssl genrsa -out rsa 1024 2>/dev/null
	openssl rsa -in rsa -check -noout
	sign rsa
	for curve in prime256v1 secp384r1 secp521r1 secp256k1; do
		openssl ecparam -name "$curve" -genkey -noout -out ec
		openssl ec -in ec -check -noout 2>/dev/null
		sign ec
	done
	for a in ed25519 ed448; do
		openssl genpkey -algorithm "$a" -out ed
		openssl pkeyutl -sign -inkey ed -rawin -in text -out sig
		openssl pkey -in ed -pubout -out pub
		openssl pkeyutl -verify -pubin -inkey pub -rawin -in text \
			-sigfile sig
	done
	openssl genpkey -algorithm x25519 -out a
	openssl genpkey -algorithm x25519 -out b
	openssl pkey -in a -pubout -out a.pub
	openssl pkey -in b -pubout -out b.pub
	openssl pkeyutl -derive -inkey a -peerkey b.pub -out ab
	openssl pkeyutl -derive -inkey b -peerkey a.pub -out ba
	cmp ab ba
	openssl req -x509 -key rsa -subj /CN=test -days 3650 -out cert
	openssl verify -CAfile cert cert
	# A key from known primes signs alike on any machine.
	python3 -c '
p, q, e = 2**607 - 1, 2**521 - 1, 65537
d = pow(e, -1, (p - 1) * (q - 1))
print("asn1=SEQUENCE:k\n[k]")
v = 0, p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)
print(*(f"f{i}=INTEGER:{n}" for i, n in enumerate(v)), sep="\n")' >rsa.cnf
	openssl asn1parse -genconf rsa.cnf -noout -out rsa.der
	openssl rsa -inform DER -in rsa.der -out known 2>/dev/null
	openssl dgst -sha512 -sign known text | sha256sum
	openssl rsa -in known -text -noout | sha256sum
	for n in 170141183460469231731687303715884105727 \
		170141183460469231731687303715884105729 1000000007 4294967297; do
		openssl prime "$n"
	done
	openssl prime -hex \
		FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F
}

"$1"
