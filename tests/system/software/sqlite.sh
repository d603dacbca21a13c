# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# sqlite.sh: tens of thousands of rows: indices, joins, windows, text, JSON,
# transactions; then the file itself, byte for byte.
set -eu
sqlite3 test.db <<'END'
.bail on
PRAGMA journal_mode = delete;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER);
CREATE TABLE kind(id INTEGER PRIMARY KEY, label TEXT UNIQUE);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 49)
	INSERT INTO kind SELECT i, printf('kind-%04x', i * 7919 % 50) FROM n;
WITH RECURSIVE n(i, x) AS (SELECT 1, 42 UNION ALL
	SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM n WHERE i < 30000)
	INSERT INTO item SELECT i, printf('%s-%d', hex(x), x % 97),
		x / 1000.0 + sin(x), x / 65536 % 50 FROM n;
CREATE INDEX by_name ON item(name);
CREATE INDEX by_kind ON item(kind, price DESC);
SELECT count(*), sum(id), round(avg(price), 6), min(name), max(name) FROM item;
SELECT label, count(*), printf('%.3f', total(price)) FROM item JOIN kind
	ON kind.id = item.kind GROUP BY label ORDER BY 2 DESC, 1 LIMIT 10;
SELECT id, name, rank() OVER (PARTITION BY kind ORDER BY price) r FROM item
	WHERE kind = 7 ORDER BY r LIMIT 5;
SELECT count(*) FROM item WHERE name LIKE '3%-1_' AND name GLOB '*[3-5]*';
SELECT substr(group_concat(name, ','), 1, 200) FROM
	(SELECT name FROM item ORDER BY name DESC LIMIT 20);
SELECT json_extract(json_group_array(json_object('k', id, 'v', name)), '$[17].v')
	FROM item WHERE id < 100;
BEGIN;
UPDATE item SET price = price * 1.07 WHERE kind % 3 = 0;
DELETE FROM item WHERE id % 11 = 5;
SAVEPOINT a;
DELETE FROM kind;
ROLLBACK TO a;
COMMIT;
SELECT count(*), printf('%.6f', sum(price)) FROM item;
CREATE VIRTUAL TABLE words USING fts5(body);
INSERT INTO words SELECT name || ' ' || label FROM item JOIN kind
	ON kind.id = item.kind WHERE item.id < 3000;
SELECT count(*) FROM words WHERE words MATCH 'kind AND 0001 OR 00*';
CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, y0, y1);
INSERT INTO box SELECT id, id % 100, id % 100 + 3, id % 77, id % 77 + 2 FROM item
	WHERE id < 3000;
SELECT count(*) FROM box WHERE x0 > 20 AND x1 < 60 AND y0 > 10 AND y1 < 40;
WITH RECURSIVE
	xaxis(x) AS (VALUES(-2.0) UNION ALL SELECT x + 0.1 FROM xaxis WHERE x < 1.0),
	yaxis(y) AS (VALUES(-1.0) UNION ALL SELECT y + 0.2 FROM yaxis WHERE y < 1.0),
	m(iter, cx, cy, x, y) AS (
		SELECT 0, x, y, 0.0, 0.0 FROM xaxis, yaxis UNION ALL
		SELECT iter + 1, cx, cy, x * x - y * y + cx, 2.0 * x * y + cy
		FROM m WHERE (x * x + y * y) < 4.0 AND iter < 20)
	SELECT sum(n), max(n) FROM (SELECT max(iter) n FROM m GROUP BY cx, cy);
PRAGMA integrity_check;
VACUUM;
PRAGMA integrity_check;
END
sqlite3 test.db .dump | sha256sum
sqlite3 test.db 'PRAGMA page_count'
