import { describe, expect, it } from 'vitest';
import { isSecureUrl } from '../../src/oauth/secure_url.ts';

describe('isSecureUrl', () => {
  it.each([
    'https://as.example.com',
    'https://as.example.com:8443/jwks?tenant=1',
    'http://127.0.0.1:8080',
    'http://127.8.9.10/jwks',
    'http://localhost:3000',
    'http://[::1]:3000/jwks',
  ])('RFC 8414 §2: takes %s', (url) => {
    expect(isSecureUrl(url, false)).toBe(true);
  });

  it.each([
    'http://as.example.com',
    'http://10.0.0.1',
    'http://localhost.example.com',
    'http://127.0.0.1.example.com',
    'http://0.0.0.0',
  ])('RFC 8414 §6.1: takes %s only where it is allowed', (url) => {
    expect(isSecureUrl(url, false)).toBe(false);
    expect(isSecureUrl(url, true)).toBe(true);
  });

  it.each([
    '',
    'jwks',
    '/jwks',
    'file:///etc/passwd',
    'ftp://as.example.com',
    'https://u:p@as.example.com',
    'https://as.example.com/#f',
    'data:,x',
  ])('refuses %s', (url) => {
    expect(isSecureUrl(url, true)).toBe(false);
  });
});
