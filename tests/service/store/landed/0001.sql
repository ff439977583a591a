PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE store_schema (
	version INTEGER NOT NULL
);
INSERT INTO store_schema VALUES(1);
CREATE TABLE sessions (
	id VARCHAR(128) NOT NULL, 
	model VARCHAR(128) NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	fps FLOAT NOT NULL, 
	seed BIGINT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	options TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	family VARCHAR(128) NOT NULL, 
	parent VARCHAR(128), 
	parent_block INTEGER, 
	ended_at FLOAT, 
	end_reason VARCHAR(32), 
	next_sequence INTEGER NOT NULL, 
	cut_block INTEGER, 
	unfinished BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO sessions VALUES('a','demo',96,64,16.0,9223372036854775807,'f1','{"prompt": "a"}',1000.0,'a',NULL,NULL,2000.0,'completed',3,NULL,0);
CREATE TABLE families (
	family VARCHAR(128) NOT NULL, 
	next_take INTEGER NOT NULL, 
	PRIMARY KEY (family)
);
INSERT INTO families VALUES('a',1);
CREATE TABLE events (
	session VARCHAR(128) NOT NULL, 
	ordinal INTEGER NOT NULL, 
	sequence INTEGER NOT NULL, 
	engine BOOLEAN NOT NULL, 
	document TEXT NOT NULL, 
	PRIMARY KEY (session, ordinal), 
	FOREIGN KEY(session) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO events VALUES('a',1,0,1,'{"type": "prompt", "block": 0, "prompts": [{"text": "a", "weight": 1.0}]}');
INSERT INTO events VALUES('a',2,1,1,'{"type": "prompt", "block": 1, "prompts": [{"text": "a", "weight": 1.0}]}');
INSERT INTO events VALUES('a',3,2,1,'{"type": "prompt", "block": 2, "prompts": [{"text": "a", "weight": 1.0}]}');
CREATE TABLE chunks (
	session VARCHAR(128) NOT NULL, 
	sequence INTEGER NOT NULL, 
	take INTEGER NOT NULL, 
	block INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	frames INTEGER NOT NULL, 
	pts FLOAT NOT NULL, 
	frames_sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (session, sequence), 
	FOREIGN KEY(session) REFERENCES sessions (id) ON DELETE CASCADE
);
INSERT INTO chunks VALUES('a',0,0,0,0,12,0.0,'0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO chunks VALUES('a',1,0,1,0,12,0.75,'0000000000000000000000000000000000000000000000000000000000000001');
INSERT INTO chunks VALUES('a',2,0,2,0,12,1.5,'0000000000000000000000000000000000000000000000000000000000000002');
CREATE INDEX sessions_by_age ON sessions (created_at, id);
COMMIT;
