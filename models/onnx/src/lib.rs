//! ONNX Runtime sessions through ort.
