"""Tokens and certificates: makes missing ones, keeps existing ones."""
