"""The table of all types of messages: their members, and what kind of value each is. The rest is made of it."""

from collections.abc import Mapping

from orchestrator_modules.values import BOOL, BYTES, ENUM, F64, I32, LIST, STR, TASK, U32, Value

_OF_DATA = {"task_id": TASK, "extra_data": BYTES}

MEMBERS: Mapping[str, Mapping[str, Value]] = {
    "UserInput": {
        "modality": STR,
        "problem_short_description": STR,
        "problem_definition": STR,
        "inputs": LIST,
        "outputs": LIST,
        "minimum_samples": U32,
        "maximum_samples": U32,
        "optimize_carbon_footprint_manual": BOOL,
        "previous_iteration": I32,
        "optimize_carbon_footprint_auto": BOOL,
        "desired_carbon_footprint": F64,
        "geo_location_continent": STR,
        "geo_location_region": STR,
        **_OF_DATA,
    },
    "AppRequirements": {"app_requirements": LIST, **_OF_DATA},
    "HWConstraints": {"max_memory_footprint": U32, "hardware_required": LIST, **_OF_DATA},
    "MLModelMetadata": {"keywords": LIST, "ml_model_metadata": LIST, **_OF_DATA},
    "MLModel": {
        "model_path": STR,
        "model": STR,
        "raw_model": BYTES,
        "model_properties_path": STR,
        "model_properties": STR,
        "input_batch": LIST,
        "target_latency": F64,
        **_OF_DATA,
    },
    "HWResource": {
        "hw_description": STR,
        "power_consumption": F64,
        "latency": F64,
        "memory_footprint_of_ml_model": F64,
        "max_hw_memory_footprint": F64,
        **_OF_DATA,
    },
    "CO2Footprint": {"carbon_footprint": F64, "energy_consumption": F64, "carbon_intensity": F64, **_OF_DATA},
    "NodeStatus": {
        "node_status": ENUM,
        "task_status": ENUM,
        "error_code": ENUM,
        "error_description": STR,
        "node_name": STR,
        "task_id": TASK,
    },
    "NodeControl": {"cmd_node": ENUM, "cmd_task": ENUM, "target_node": STR, "source_node": STR, "task_id": TASK},
    "RequestType": {"node_id": I32, "transaction_id": I32, "configuration": STR},
    "ResponseType": {
        "node_id": I32,
        "transaction_id": I32,
        "success": BOOL,
        "err_code": ENUM,
        "configuration": STR,
    },
}
