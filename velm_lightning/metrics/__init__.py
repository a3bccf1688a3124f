"""Scores of generated language: functional forms and torchmetrics classes, equal to the official definitions."""
