"""Properties of an ONNX model of this machine. A received model is never opened so: see `worker`."""


def with_property(content: bytes, key: str, value: str) -> bytes:
    """The bytes of the model with the property, in place of an earlier value."""
    from onnx import ModelProto

    model = ModelProto.FromString(content)
    others = [p for p in model.metadata_props if p.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=key, value=value)
    changed: bytes = model.SerializeToString()
    return changed
