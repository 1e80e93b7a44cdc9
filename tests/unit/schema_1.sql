-- A store as version 0.1.0 made it, empty: `migrations` must bring it to today's schema.
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE hx_migration (
	number INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	applied_at VARCHAR NOT NULL, 
	PRIMARY KEY (number)
);
CREATE TABLE hx_dataset (
	id INTEGER NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	path VARCHAR, 
	rows INTEGER NOT NULL, 
	columns INTEGER NOT NULL, 
	target VARCHAR NOT NULL, 
	time_column VARCHAR, 
	notices JSON NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_hx_dataset_sha256 ON hx_dataset (sha256);
CREATE TABLE hx_experiment (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR NOT NULL, 
	created_at VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	dataset_id INTEGER, 
	objective JSON, 
	metric VARCHAR NOT NULL, 
	direction VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	split JSON, 
	sampler VARCHAR NOT NULL, 
	pruner VARCHAR NOT NULL, 
	versions JSON NOT NULL, 
	workers INTEGER NOT NULL, 
	patience INTEGER, 
	min_improvement DOUBLE NOT NULL, 
	time_limit_s DOUBLE, 
	time_used_s DOUBLE NOT NULL, 
	trial_time_s DOUBLE, 
	trial_memory_mib DOUBLE, 
	failure VARCHAR, 
	UNIQUE (name)
);
CREATE TABLE hx_study (
	study_id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	model VARCHAR NOT NULL, 
	family VARCHAR NOT NULL, 
	space JSON, 
	goal INTEGER, 
	want VARCHAR NOT NULL, 
	want_now BOOLEAN NOT NULL, 
	ended_by VARCHAR, 
	failure VARCHAR, 
	closing_worker INTEGER, 
	closed_at VARCHAR, 
	held_out_score DOUBLE, 
	held_out_number INTEGER, 
	held_out_note VARCHAR, 
	openings INTEGER NOT NULL, 
	rules_from INTEGER, 
	PRIMARY KEY (study_id)
);
CREATE INDEX ix_hx_study_experiment_id ON hx_study (experiment_id);
CREATE TABLE hx_trial (
	trial_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	value DOUBLE, 
	started_at VARCHAR, 
	finished_at VARCHAR, 
	duration_s DOUBLE, 
	worker_id INTEGER, 
	seed INTEGER, 
	params_hash VARCHAR, 
	peak_memory_mib DOUBLE, 
	metrics JSON, 
	error_class VARCHAR, 
	error_message VARCHAR, 
	error_traceback VARCHAR, 
	served_from INTEGER, 
	retry_of INTEGER, 
	requeues INTEGER NOT NULL, 
	crashes INTEGER NOT NULL, 
	PRIMARY KEY (trial_id), 
	CONSTRAINT hx_trial_number UNIQUE (study_id, number)
);
CREATE INDEX hx_trial_params ON hx_trial (study_id, params_hash);
CREATE INDEX hx_trial_waiting ON hx_trial (study_id, number) WHERE state = 'WAITING';
CREATE INDEX hx_trial_running ON hx_trial (worker_id) WHERE state = 'RUNNING';
CREATE INDEX hx_trial_value ON hx_trial (study_id, value);
CREATE INDEX hx_trial_state ON hx_trial (study_id, state, duration_s);
CREATE TABLE hx_worker (
	id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	slot INTEGER NOT NULL, 
	pid INTEGER NOT NULL, 
	start_ticks INTEGER NOT NULL, 
	boot_id VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	started_at VARCHAR NOT NULL, 
	ended_at VARCHAR, 
	end_reason VARCHAR, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_hx_worker_experiment_id ON hx_worker (experiment_id);
CREATE TABLE hx_runner (
	id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	pid INTEGER NOT NULL, 
	host VARCHAR NOT NULL, 
	started_at VARCHAR NOT NULL, 
	ended_at VARCHAR, 
	end_reason VARCHAR, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_hx_runner_experiment_id ON hx_runner (experiment_id);
CREATE TABLE hx_baseline (
	id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	selection_score DOUBLE, 
	held_out_score DOUBLE, 
	PRIMARY KEY (id), 
	CONSTRAINT hx_baseline_name UNIQUE (experiment_id, name)
);
CREATE TABLE hx_event (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR NOT NULL, 
	experiment_id INTEGER, 
	study_id INTEGER, 
	trial_number INTEGER, 
	kind VARCHAR NOT NULL, 
	text VARCHAR NOT NULL
);
CREATE INDEX hx_event_experiment ON hx_event (experiment_id, seq);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO hx_migration VALUES (1, 'first tables', '2026-11-23T03:00:00.000000+00:00');
INSERT INTO alembic_version VALUES ('v3.2.0.a');
INSERT INTO version_info VALUES (1, 12, '5.0.0');
