{# What an order is placed by: the customer's account, and the payment instrument, device and address it names. #}
{% macro order_instruments() -%}{{ return(['user', 'payment', 'device', 'address']) }}{%- endmacro %}

{# Distinct accounts of an instrument are counted, and named, up to so many: what is shared by more is shared by many. #}
{% macro most_accounts() -%}20{%- endmacro %}
